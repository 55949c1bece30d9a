package ort

import "golang.org/x/sys/cpu"

// multipliesBytes reports whether the processor multiplies and adds bytes in one instruction, which
// is what makes int8 faster than fp32.
func multipliesBytes() bool {
	return cpu.X86.HasAVX512VNNI || cpu.X86.HasAVXVNNI || cpu.ARM64.HasASIMDDP
}

// hasVNNI reports whether the processor runs wal2vec's own operators.
func hasVNNI() bool {
	return cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512VNNI
}
