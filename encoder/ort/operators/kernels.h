// The arithmetic of wal2vec's operators: an int8 transformer layer for x86-64 with AVX-512 VNNI, on rows that stand one after the
// other without padding. Matrices are row-major. Nothing here depends on how rows are grouped into calls: a row's result is the same,
// bit for bit, alone and beside any others.
#pragma once

#include <stddef.h>
#include <stdint.h>

// GROUP rows of a weight, and as many columns of the rows that it is multiplied with, have scales of their own: an outlier spoils no more than
// its group. Measured: half the error of one scale a row and a column, for an eighth of the speed.
enum { GROUP = 128 };

// linear is a weight [in, out] in int8 with a scale a group and column, packed for the dot product of bytes: blocks of 64 columns, in each of
// them groups of 4 rows, in each of those 64 columns of 4 bytes. in is a multiple of GROUP, out of 64.
typedef struct {
	int64_t in, out;
	const int8_t *weight;
	const float *scale; // [in / GROUP, out]
	const float *bias;  // [out]
	const float *sum;   // [in / GROUP, out], of the column's bytes in the group, times their scale
} linear;

// norm is a layer normalisation.
typedef struct {
	const float *scale, *bias; // [hidden]
	float epsilon;
} norm;

typedef struct {
	int64_t hidden, inner, heads;
	linear qkv; // its query columns carry the factor 1 / sqrt(head size)
	linear out, up, down;
	norm attended, done;
} layer;

// encode_layer computes y from x, both [starts[texts], hidden], for texts at starts[0..texts]. It returns 0, or -1 without memory.
int encode_layer(const layer *l, const float *x, const int32_t *starts, int64_t texts, float *y);

// embed adds up the rows of two tables and normalises. It returns 0, or -1 when an id is not below vocabulary or a text longer than positions.
int embed(const int32_t *ids, const int32_t *starts, int64_t texts, const float *words, int64_t vocabulary, const float *places,
	int64_t positions, int64_t hidden, const norm *n, float *y);

// pool takes the mean over each text's rows, or its first row, and scales it to length 1 where asked.
void pool(const float *x, const int32_t *starts, int64_t texts, int64_t hidden, int first, int normalise, float *y);
