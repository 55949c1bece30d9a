package ort

/*
#include <dlfcn.h>
#include <stddef.h>

// free_memory asks CUDA's runtime, which the provider has loaded, how much memory a GPU has left; 0 where that cannot be known.
static size_t free_memory(int gpu) {
	static const char *const names[] = {"libcudart.so.13", "libcudart.so.12"};
	void *library = NULL;
	for (size_t i = 0; library == NULL && i < sizeof names / sizeof *names; i++) library = dlopen(names[i], RTLD_NOW | RTLD_NOLOAD);
	if (library == NULL) return 0;
	int (*get)(int *) = (int (*)(int *))dlsym(library, "cudaGetDevice");
	int (*set)(int) = (int (*)(int))dlsym(library, "cudaSetDevice");
	int (*info)(size_t *, size_t *) = (int (*)(size_t *, size_t *))dlsym(library, "cudaMemGetInfo");
	int before = 0;
	size_t left = 0, whole = 0;
	if (get != NULL && set != NULL && info != NULL && get(&before) == 0 && set(gpu) == 0) {
		if (info(&left, &whole) != 0) left = 0;
		set(before);
	}
	dlclose(library); // one reference of several: it stays loaded
	return left;
}
*/
import "C"

import (
	"runtime"

	"github.com/wal2vec/wal2vec/models"
)

// What the arena of a GPU may take. Beside it, streams and their handles and the code of kernels
// take memory when they are first used, and where an arena has taken the last byte, nothing runs
// again.
const (
	besideArena = 1 << 30
	leastArena  = 128 << 20
)

// arenaLimit is how many bytes the arena may take of those that are free.
func arenaLimit(left int64) int64 { return max(left-besideArena, leastArena) }

// leastFitting is the smallest size of a run that fittingTokens returns: a single text goes
// whatever its size.
const leastFitting = 1024

// fittingTokens is the size of a run of which one on every thread fits the arena of a GPU with so
// many free bytes; 0 says that they are not known. Every thread counts, also while it idles: what
// its stream had of the arena is not lent to another.
func fittingTokens(left int64, m models.Manifest) int {
	if left == 0 {
		return cudaRunTokens
	}
	// At the widest place, the middle of the feed-forward part, which is 4 times as wide in every
	// BERT, stand its input and its output beside a vector of every token, in fp16. The arena's
	// pieces leave gaps, hence the half more. Measured on an H100 with other programs in its
	// memory: of 3 GB free, runs of 22,000 tokens fit, which is what this gives.
	perToken := int64(2*(4+4+1)*m.Dimension) * 3 / 2
	const copies = 2 // of the weights, while they are loaded
	fit := (arenaLimit(left) - copies*m.GraphBytes) / (cudaThreads * perToken)
	return int(min(max(fit, leastFitting), cudaRunTokens))
}

// freeMemory returns the bytes that a GPU has left; 0 where that cannot be known. The first
// question to a GPU makes the context of this process there, so that what that takes is no longer
// in the answer.
func freeMemory(gpu int) int64 {
	// Which GPU is asked belongs to the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return int64(C.free_memory(C.int(gpu)))
}
