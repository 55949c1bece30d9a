package models

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// headMultiple is what the size of an attention head has to be a multiple of: else the provider
// falls back to a form that needs padding.
const headMultiple = 8

// checkGPU refuses a checkpoint that the graph for CUDA would not compute right.
func (a architecture) checkGPU() error {
	if a.HiddenAct != "gelu" {
		return fmt.Errorf("its activation is %s, not gelu", a.HiddenAct)
	}
	if size := a.HiddenSize / a.Heads; size%headMultiple != 0 {
		return fmt.Errorf("its attention heads have %d numbers, and the GPU's attention takes multiples of %d", size, headMultiple)
	}
	return nil
}

// normBefore names the LayerNormalization whose output a layer reads.
func normBefore(layer int) string {
	if layer == 0 {
		return "embeddings.LayerNorm"
	}
	return layerName(layer-1, "output.LayerNorm")
}

// steady is what is constant about the input of a layer.
//
// Before its weights g and bias b, a LayerNormalization's output n adds up to zero over the
// components. So for x = g*n + b the sum of x[i]/g[i] is the sum of b[i]/g[i], whatever the token.
// Adding bias[o] / total / g[i] to the element (i, o) of a weight thus adds exactly bias[o] to the
// product: a bias that costs nothing at run time, where an addition reads and writes the whole
// tensor (42 us a layer) and a bias of Gemm is worse (87 us).
//
// In fp16 the total has to be far from zero for that. So b carries a small number beside its own
// value, which makes the total at least 0.1 times the sum of 1/|g[i]|: what reads x takes it off
// again.
type steady struct {
	// carried is what x has beside its own value.
	carried []float64
	// share times a component of x, summed up, is 1.
	share []float64
}

// carriedSize is the size of the number that is carried: small beside the components, which are
// about 0.6.
const carriedSize = 0.1

// steady reads the norm before a layer. A weight of zero is taken as next to zero: its component
// alone is then the constant.
func (b *packedBERT) steady(layer int) (steady, error) {
	weights, err := b.w.read(normBefore(layer) + ".weight")
	if err != nil {
		return steady{}, err
	}
	biases, err := b.w.read(normBefore(layer) + ".bias")
	if err != nil {
		return steady{}, err
	}
	s := steady{carried: make([]float64, len(weights)), share: make([]float64, len(weights))}
	var total, reach float64
	for i, w := range weights {
		const nextToZero = 1e-6
		inverse := 1 / math.Copysign(max(math.Abs(float64(w)), nextToZero), float64(w))
		s.share[i] = inverse
		s.carried[i] = math.Copysign(carriedSize, inverse)
		total += inverse * float64(biases[i])
		reach += math.Abs(inverse) * carriedSize
	}
	sign := math.Copysign(1, total) // away from zero
	total += sign * reach
	for i := range s.share {
		s.carried[i] *= sign
		s.share[i] /= total
	}
	return s, nil
}

// carryingBias is the bias of the norm before a layer, with what it carries; the last layer's
// output carries nothing.
func (b *packedBERT) carryingBias(layer int) string {
	return b.half(func() ([]float32, error) {
		bias, err := b.w.read(normBefore(layer) + ".bias")
		if err != nil || layer == b.a.Layers {
			return bias, err
		}
		s, err := b.steady(layer)
		if err != nil {
			return nil, err
		}
		for i := range bias {
			bias[i] += float32(s.carried[i])
		}
		return bias, nil
	}, b.a.HiddenSize)
}

// steadyQuery is the query's weight as [in, out], its bias within.
func (b *packedBERT) steadyQuery(layer int) ([]float32, error) {
	w, bias, err := b.dense(layerName(layer, "attention.self.query"))
	if err != nil {
		return nil, err
	}
	s, err := b.steady(layer)
	if err != nil {
		return nil, err
	}
	takeOff(bias, w, s.carried)
	h := b.a.HiddenSize
	t := make([]float32, 0, h*h)
	for i := range h {
		for o := range h {
			t = append(t, float32(float64(w[o*h+i])+bias[o]*s.share[i]))
		}
	}
	return t, nil
}

// outputBias is the bias of the attention's output product. It has in it the value's bias, which
// every text's mix of values holds once, and takes off what the layer's input carries, on both ways
// to here.
func (b *packedBERT) outputBias(layer int) ([]float32, error) {
	values, valueBias, err := b.dense(layerName(layer, "attention.self.value"))
	if err != nil {
		return nil, err
	}
	output, bias, err := b.dense(layerName(layer, "attention.output.dense"))
	if err != nil {
		return nil, err
	}
	s, err := b.steady(layer)
	if err != nil {
		return nil, err
	}
	takeOff(valueBias, values, s.carried)
	sum := make([]float32, len(bias))
	for o := range sum {
		v := bias[o] - s.carried[o]
		for i, x := range valueBias {
			v += float64(output[o*len(valueBias)+i]) * x
		}
		sum[o] = float32(v)
	}
	return sum, nil
}

// dense reads the weight and bias of a product.
func (b *packedBERT) dense(name string) (weight []float32, bias []float64, err error) {
	if weight, err = b.w.read(name + ".weight"); err != nil {
		return nil, nil, err
	}
	read, err := b.w.read(name + ".bias")
	if err != nil {
		return nil, nil, err
	}
	bias = make([]float64, len(read))
	for i, v := range read {
		bias[i] = float64(v)
	}
	return weight, bias, nil
}

// takeOff subtracts the product of a vector from a bias; the weight is [out, in].
func takeOff(bias []float64, weight []float32, vector []float64) {
	for o := range bias {
		for i, v := range vector {
			bias[o] -= float64(weight[o*len(vector)+i]) * v
		}
	}
}

// weight adds a tensor of the checkpoint as it is.
func (b *packedBERT) weight(name string, shape ...int) string {
	return b.half(func() ([]float32, error) { return b.w.read(name) }, shape...)
}

// transposed adds a weight that the checkpoint holds as [out, in] as [in, out].
func (b *packedBERT) transposed(name string, out, in int) string {
	return b.half(func() ([]float32, error) {
		w, err := b.w.read(name)
		if err != nil {
			return nil, err
		}
		t := make([]float32, 0, len(w))
		for i := range in {
			for o := range out {
				t = append(t, w[o*in+i])
			}
		}
		return t, nil
	}, in, out)
}

// half adds a constant in fp16.
func (b *packedBERT) half(read func() ([]float32, error), shape ...int) string {
	return b.typed(onnxpb.TensorProto_FLOAT16, func() ([]byte, error) {
		values, err := read()
		if err != nil {
			return nil, err
		}
		data := make([]byte, 0, 2*len(values))
		for _, v := range values {
			bits := float16(v)
			if bits&0x7c00 == 0x7c00 {
				return nil, fmt.Errorf("the weight %g does not fit fp16", v)
			}
			data = binary.LittleEndian.AppendUint16(data, bits)
		}
		return data, nil
	}, shape...)
}

// float16 returns the bits of the nearest half-precision number, the even one of two.
func float16(v float32) uint16 {
	const (
		smallestNormal   = 0x38800000 // 2^-14
		roundsToInfinity = 0x477ff000 // 65520
		infinity         = 0x7f800000
	)
	bits := math.Float32bits(v)
	sign, size := uint16(bits>>16&0x8000), bits&^(1<<31)
	switch {
	case size > infinity:
		return sign | 0x7e00
	case size >= roundsToInfinity:
		return sign | 0x7c00
	case size < smallestNormal: // numbers from 0.5 to 1 are 2^-24 apart, like half-precision ones below 2^-14
		return sign | uint16(math.Float32bits(math.Float32frombits(size)+0.5)-math.Float32bits(0.5))
	}
	size += 0xfff + size>>13&1
	return sign | uint16((size-(112<<23))>>13)
}
