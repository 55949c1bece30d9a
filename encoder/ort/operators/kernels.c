#include "kernels.h"

#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// Rows are worked on in panels of whole texts: few enough that what a layer makes of them stays in the core's second-level cache, many
// enough that reading the weights from the third costs little.
enum { PANEL = 128 };

static inline int64_t padded(int64_t n) { return (n + 15) & ~(int64_t)15; }

// ---- Memory of a thread, kept between calls.

typedef struct {
	char *at;
	size_t size;
} arena;

static pthread_key_t arena_key;
static pthread_once_t arena_once = PTHREAD_ONCE_INIT;

static void drop_arena(void *p) {
	free(((arena *)p)->at);
	free(p);
}

static void make_arena_key(void) { pthread_key_create(&arena_key, drop_arena); }

static char *scratch(size_t size) {
	pthread_once(&arena_once, make_arena_key);
	arena *a = pthread_getspecific(arena_key);
	if (a == NULL) {
		a = calloc(1, sizeof *a);
		if (a == NULL || pthread_setspecific(arena_key, a) != 0) {
			free(a);
			return NULL;
		}
	}
	if (a->size < size) {
		free(a->at);
		a->size = 0;
		size = (size + 4095) & ~(size_t)4095;
		a->at = aligned_alloc(64, size);
		if (a->at == NULL) return NULL;
		a->size = size;
	}
	return a->at;
}

// carve takes n elements off the arena, at a cache line's start.
#define carve(p, type, n) ((type *)(p)); (p) += ((sizeof(type) * (size_t)(n)) + 63) & ~(size_t)63

// ---- Functions of a vector.

// erf(x / sqrt 2) as x times a polynomial in x^2, fitted for the least greatest error of GELU: 1.5e-5 up to 4.2, beyond which it is held.
static inline __m512 gelu(__m512 x) {
	const __m512 most = _mm512_set1_ps(4.2f);
	__m512 z = _mm512_max_ps(_mm512_min_ps(x, most), _mm512_sub_ps(_mm512_setzero_ps(), most));
	__m512 t = _mm512_mul_ps(z, z);
	__m512 p = _mm512_set1_ps(-4.6132646314145376e-12f);
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(4.990176050156947e-10f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-2.4331663794896485e-08f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(7.137592774597579e-07f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.4233002730179578e-05f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.00020709089585579932f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.002296828432008624f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.01979750394821167f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.1328364610671997f));
	p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.7978360056877136f));
	__m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5f));
	return _mm512_fmadd_ps(half, _mm512_mul_ps(z, p), half);
}

// exp of numbers at or below 0, to 2e-7 of the result.
static inline __m512 exponential(__m512 x) {
	x = _mm512_max_ps(x, _mm512_set1_ps(-87.0f));
	__m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	__m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145752f), x);
	r = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), r);
	__m512 p = _mm512_set1_ps(1.0f / 720);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
	return _mm512_scalef_ps(p, n);
}

// ---- Bytes.

// bytes are rows in uint8: value = scale * (byte - zero), with a scale and a zero a group of columns.
typedef struct {
	uint8_t *at;  // [rows, width]
	float *scale; // [rows, width / GROUP]
	float *shift; // [rows, width / GROUP], scale * zero
} bytes;

// extremes returns the least and the greatest of 16 numbers each.
static inline void extremes(__m512 low, __m512 high, float *least, float *greatest) {
	low = _mm512_sub_ps(_mm512_setzero_ps(), low); // one sequence of maxima does for both
	__m256 l = _mm256_max_ps(_mm512_castps512_ps256(low), _mm512_extractf32x8_ps(low, 1));
	__m256 h = _mm256_max_ps(_mm512_castps512_ps256(high), _mm512_extractf32x8_ps(high, 1));
	__m512 both = _mm512_insertf32x8(_mm512_castps256_ps512(l), h, 1);
	both = _mm512_max_ps(both, _mm512_shuffle_f32x4(both, both, 0xb1));
	both = _mm512_max_ps(both, _mm512_permute_ps(both, 0x4e));
	both = _mm512_max_ps(both, _mm512_permute_ps(both, 0xb1));
	*least = -_mm512_cvtss_f32(both);
	*greatest = _mm_cvtss_f32(_mm512_extractf32x4_ps(both, 2));
}

// quantise turns rows into bytes, each group from its least to its greatest value; 0 is among them, so that it stays exact.
static void quantise(const float *x, int64_t rows, int64_t width, bytes b) {
	for (int64_t g = 0; g < rows * (width / GROUP); g++, x += GROUP) {
		__m512 v[GROUP / 16], low = _mm512_setzero_ps(), high = low;
		_Pragma("GCC unroll 8") for (int i = 0; i < GROUP / 16; i++) {
			v[i] = _mm512_loadu_ps(x + 16 * i);
			low = _mm512_min_ps(low, v[i]);
			high = _mm512_max_ps(high, v[i]);
		}
		float least, greatest;
		extremes(low, high, &least, &greatest);
		// below 1e-30, beside which 255 / range would not stay finite, a group is as good as 0
		float range = greatest - least, inverse = range > 1e-30f ? 255.0f / range : 0, scale = range / 255.0f;
		float zero = nearbyintf(-least * inverse);
		b.scale[g] = scale;
		b.shift[g] = scale * zero;
		__m512 factor = _mm512_set1_ps(inverse);
		__m512i add = _mm512_set1_epi32((int32_t)zero);
		_Pragma("GCC unroll 8") for (int i = 0; i < GROUP / 16; i++) {
			__m512i n = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(v[i], factor)), add); // to the nearest
			n = _mm512_max_epi32(n, _mm512_setzero_si512());
			_mm_storeu_si128((__m128i *)(b.at + g * GROUP + 16 * i), _mm512_cvtusepi32_epi8(n));
		}
	}
}

enum after { PLAIN, GELU, ADD };

// tile multiplies up to 6 rows with a block of 64 columns. The sums of a group stay in registers while it is worked on, and are then scaled
// and added up in memory: a compiler that cannot unroll everything that indexes them would keep them in memory throughout.
#define DOT(sum, bytes, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights)) // the intrinsic moves each sum twice
#define UNROLLED _Pragma("GCC unroll 8")
#define TILE(ROWS)                                                                                                                    \
	static void tile##ROWS(const linear *l, int64_t column, bytes x, enum after after, const float *more, float *y) {                   \
		__m512 totals[ROWS][4];                                                                                                           \
		const int8_t *w = l->weight + column * l->in;                                                                                     \
		const uint8_t *a = x.at;                                                                                                          \
		int64_t in = l->in, groups = in / GROUP;                                                                                          \
		for (int j = 0; j < 4; j++)                                                                                                       \
			for (int i = 0; i < ROWS; i++) totals[i][j] = _mm512_loadu_ps(l->bias + column + 16 * j);                                       \
		for (int64_t g = 0; g < groups; g++) {                                                                                            \
			__m512i sums[ROWS][4];                                                                                                          \
			UNROLLED for (int i = 0; i < ROWS; i++) UNROLLED for (int j = 0; j < 4; j++) sums[i][j] = _mm512_setzero_si512();               \
			for (int64_t k = 0; k < GROUP; k += 4, a += 4, w += 256) {                                                                      \
				__m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64), w2 = _mm512_loadu_si512(w + 128),                        \
					w3 = _mm512_loadu_si512(w + 192);                                                                                           \
				UNROLLED for (int i = 0; i < ROWS; i++) {                                                                                     \
					int32_t four;                                                                                                               \
					memcpy(&four, a + i * in, 4);                                                                                               \
					__m512i v = _mm512_set1_epi32(four);                                                                                        \
					DOT(sums[i][0], v, w0);                                                                                                     \
					DOT(sums[i][1], v, w1);                                                                                                     \
					DOT(sums[i][2], v, w2);                                                                                                     \
					DOT(sums[i][3], v, w3);                                                                                                     \
				}                                                                                                                             \
			}                                                                                                                               \
			UNROLLED for (int j = 0; j < 4; j++) {                                                                                          \
				__m512 factor = _mm512_loadu_ps(l->scale + g * l->out + column + 16 * j),                                                     \
					off = _mm512_loadu_ps(l->sum + g * l->out + column + 16 * j);                                                               \
				UNROLLED for (int i = 0; i < ROWS; i++) {                                                                                     \
					__m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i][j]), _mm512_set1_ps(x.scale[i * groups + g]));                          \
					v = _mm512_fmadd_ps(v, factor, totals[i][j]);                                                                               \
					totals[i][j] = _mm512_fnmadd_ps(_mm512_set1_ps(x.shift[i * groups + g]), off, v);                                           \
				}                                                                                                                             \
			}                                                                                                                               \
		}                                                                                                                                 \
		for (int i = 0; i < ROWS; i++) {                                                                                                  \
			for (int j = 0; j < 4; j++) {                                                                                                   \
				int64_t at = i * l->out + column + 16 * j;                                                                                    \
				__m512 v = totals[i][j];                                                                                                      \
				if (after == GELU) v = gelu(v);                                                                                               \
				if (after == ADD) v = _mm512_add_ps(v, _mm512_loadu_ps(more + at));                                                           \
				_mm512_storeu_ps(y + at, v);                                                                                                  \
			}                                                                                                                               \
		}                                                                                                                                 \
	}

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

// multiply computes y = x W + bias for rows in bytes, and then GELU, or plus more.
static void multiply(const linear *l, bytes x, int64_t rows, enum after after, const float *more, float *y) {
	typedef void (*tile)(const linear *, int64_t, bytes, enum after, const float *, float *);
	static const tile tiles[] = {NULL, tile1, tile2, tile3, tile4, tile5, tile6};
	int64_t groups = l->in / GROUP;
	for (int64_t column = 0; column < l->out; column += 64) {
		for (int64_t row = 0; row < rows;) {
			int64_t n = rows - row;
			if (n > 6) n = n < 12 ? (n + 1) / 2 : 6; // no thin rest
			bytes part = {x.at + row * l->in, x.scale + row * groups, x.shift + row * groups};
			tiles[n](l, column, part, after, more == NULL ? NULL : more + row * l->out, y + row * l->out);
			row += n;
		}
	}
}

// ---- Layer normalisation.

static void normalise(const norm *n, float *x, int64_t rows, int64_t width) {
	for (int64_t row = 0; row < rows; row++, x += width) {
		__m512 s0 = _mm512_setzero_ps(), s1 = s0;
		for (int64_t i = 0; i < width; i += 32) {
			s0 = _mm512_add_ps(s0, _mm512_loadu_ps(x + i));
			s1 = _mm512_add_ps(s1, _mm512_loadu_ps(x + i + 16));
		}
		__m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(_mm512_add_ps(s0, s1)) / (float)width);
		s0 = s1 = _mm512_setzero_ps();
		for (int64_t i = 0; i < width; i += 32) {
			__m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(x + i), mean), d1 = _mm512_sub_ps(_mm512_loadu_ps(x + i + 16), mean);
			s0 = _mm512_fmadd_ps(d0, d0, s0);
			s1 = _mm512_fmadd_ps(d1, d1, s1);
		}
		__m512 factor = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(_mm512_add_ps(s0, s1)) / (float)width + n->epsilon));
		for (int64_t i = 0; i < width; i += 16) {
			__m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), mean), factor);
			_mm512_storeu_ps(x + i, _mm512_fmadd_ps(v, _mm512_loadu_ps(n->scale + i), _mm512_loadu_ps(n->bias + i)));
		}
	}
}

// ---- Attention of one text and one head.

enum { QUERIES = 8 };

// scores computes [queries, length] products of queries with the transposed keys [size, stride], 48 keys at a time.
static inline __attribute__((always_inline)) void scores(const float *q, int64_t width, const float *keys, int64_t stride, int64_t size,
	int queries, float *out) {
	for (int64_t k = 0; k < stride; k += 48) {
		int vectors = stride - k >= 48 ? 3 : (int)(stride - k) / 16;
		__m512 s[QUERIES][3];
		for (int i = 0; i < queries; i++)
			for (int j = 0; j < 3; j++) s[i][j] = _mm512_setzero_ps();
		if (vectors == 3) {
			for (int64_t d = 0; d < size; d++) {
				const float *row = keys + d * stride + k;
				__m512 k0 = _mm512_loadu_ps(row), k1 = _mm512_loadu_ps(row + 16), k2 = _mm512_loadu_ps(row + 32);
				for (int i = 0; i < queries; i++) {
					__m512 v = _mm512_set1_ps(q[i * width + d]);
					s[i][0] = _mm512_fmadd_ps(v, k0, s[i][0]);
					s[i][1] = _mm512_fmadd_ps(v, k1, s[i][1]);
					s[i][2] = _mm512_fmadd_ps(v, k2, s[i][2]);
				}
			}
		} else {
			for (int64_t d = 0; d < size; d++) {
				const float *row = keys + d * stride + k;
				__m512 k0 = _mm512_loadu_ps(row), k1 = vectors == 2 ? _mm512_loadu_ps(row + 16) : _mm512_setzero_ps();
				for (int i = 0; i < queries; i++) {
					__m512 v = _mm512_set1_ps(q[i * width + d]);
					s[i][0] = _mm512_fmadd_ps(v, k0, s[i][0]);
					s[i][1] = _mm512_fmadd_ps(v, k1, s[i][1]);
				}
			}
		}
		for (int i = 0; i < queries; i++)
			for (int j = 0; j < vectors; j++) _mm512_storeu_ps(out + i * stride + k + 16 * j, s[i][j]);
	}
}

// weigh turns a row of scores into exp(score - greatest), 0 beyond length, and returns 1 / their sum.
static inline float weigh(float *row, int64_t length, int64_t stride) {
	__mmask16 tail = (__mmask16)((1u << (length - (stride - 16))) - 1);
	__m512 high = _mm512_set1_ps(-INFINITY);
	for (int64_t i = 0; i < stride - 16; i += 16) high = _mm512_max_ps(high, _mm512_loadu_ps(row + i));
	high = _mm512_mask_max_ps(high, tail, high, _mm512_loadu_ps(row + stride - 16));
	__m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(high)), sum = _mm512_setzero_ps();
	for (int64_t i = 0; i < stride; i += 16) {
		__m512 e = exponential(_mm512_sub_ps(_mm512_loadu_ps(row + i), most));
		if (i == stride - 16) e = _mm512_maskz_mov_ps(tail, e);
		sum = _mm512_add_ps(sum, e);
		_mm512_storeu_ps(row + i, e);
	}
	return 1.0f / _mm512_reduce_add_ps(sum);
}

// mix computes [queries, size] weighted sums of values, 32 columns at a time.
static inline __attribute__((always_inline)) void mix(const float *weights, int64_t stride, int64_t length, const float *values, int64_t width,
	int64_t size, int queries, const float *factor, float *out, int64_t out_width) {
	for (int64_t d = 0; d < size; d += 32) {
		__m512 s[QUERIES][2];
		for (int i = 0; i < queries; i++) s[i][0] = s[i][1] = _mm512_setzero_ps();
		for (int64_t k = 0; k < length; k++) {
			__m512 v0 = _mm512_loadu_ps(values + k * width + d), v1 = _mm512_loadu_ps(values + k * width + d + 16);
			for (int i = 0; i < queries; i++) {
				__m512 w = _mm512_set1_ps(weights[i * stride + k]);
				s[i][0] = _mm512_fmadd_ps(w, v0, s[i][0]);
				s[i][1] = _mm512_fmadd_ps(w, v1, s[i][1]);
			}
		}
		for (int i = 0; i < queries; i++) {
			__m512 f = _mm512_set1_ps(factor[i]);
			_mm512_storeu_ps(out + i * out_width + d, _mm512_mul_ps(s[i][0], f));
			_mm512_storeu_ps(out + i * out_width + d + 16, _mm512_mul_ps(s[i][1], f));
		}
	}
}

// attend mixes the values of one text: qkv is [length, 3 * hidden], out [length, hidden]; keys and weights are scratch.
static void attend(const float *qkv, int64_t length, int64_t hidden, int64_t heads, float *keys, float *weights, float *out) {
	int64_t size = hidden / heads, width = 3 * hidden, stride = padded(length);
	for (int64_t head = 0; head < heads; head++) {
		const float *q = qkv + head * size, *k = q + hidden, *v = k + hidden;
		float *o = out + head * size;
		for (int64_t i = 0; i < length; i++)
			for (int64_t d = 0; d < size; d++) keys[d * stride + i] = k[i * width + d];
		for (int64_t d = 0; d < size; d++)
			for (int64_t i = length; i < stride; i++) keys[d * stride + i] = 0;
		for (int64_t row = 0; row < length;) {
			float factor[QUERIES];
			int n = length - row >= QUERIES ? QUERIES : 1;
			if (n == QUERIES) scores(q + row * width, width, keys, stride, size, QUERIES, weights);
			else scores(q + row * width, width, keys, stride, size, 1, weights);
			for (int i = 0; i < n; i++) factor[i] = weigh(weights + i * stride, length, stride);
			if (n == QUERIES) mix(weights, stride, length, v, width, size, QUERIES, factor, o + row * hidden, hidden);
			else mix(weights, stride, length, v, width, size, 1, factor, o + row * hidden, hidden);
			row += n;
		}
	}
}

// ---- The layer.

int encode_layer(const layer *l, const float *x, const int32_t *starts, int64_t texts, float *y) {
	int64_t hidden = l->hidden, longest = 0;
	for (int64_t t = 0; t < texts; t++)
		if (starts[t + 1] - starts[t] > longest) longest = starts[t + 1] - starts[t];
	int64_t rows = longest > PANEL ? longest : PANEL;
	int64_t widest = l->inner > 3 * hidden ? l->inner : 3 * hidden;
	size_t size = sizeof(float) * (size_t)(rows * (widest + hidden) + padded(longest) * (hidden / l->heads + QUERIES) + 2 * rows * widest / GROUP) +
		(size_t)(rows * widest) + 8 * 64;
	char *memory = scratch(size);
	if (memory == NULL) return -1;
	float *wide = carve(memory, float, rows * widest);
	float *narrow = carve(memory, float, rows * hidden);
	float *keys = carve(memory, float, padded(longest) * (hidden / l->heads));
	float *weights = carve(memory, float, padded(longest) * QUERIES);
	bytes b;
	b.scale = carve(memory, float, rows * widest / GROUP);
	b.shift = carve(memory, float, rows * widest / GROUP);
	b.at = carve(memory, uint8_t, rows * widest);
	for (int64_t first = 0; first < texts;) {
		int64_t last = first + 1;
		while (last < texts && starts[last + 1] - starts[first] <= PANEL) last++;
		int64_t from = starts[first], n = starts[last] - from;
		const float *in = x + from * hidden;
		float *out = y + from * hidden;
		quantise(in, n, hidden, b);
		multiply(&l->qkv, b, n, PLAIN, NULL, wide);
		for (int64_t t = first; t < last; t++) {
			int64_t at = starts[t] - from;
			attend(wide + at * 3 * hidden, starts[t + 1] - starts[t], hidden, l->heads, keys, weights, narrow + at * hidden);
		}
		quantise(narrow, n, hidden, b);
		multiply(&l->out, b, n, ADD, in, out);
		normalise(&l->attended, out, n, hidden);
		quantise(out, n, hidden, b);
		multiply(&l->up, b, n, GELU, NULL, wide);
		quantise(wide, n, l->inner, b);
		multiply(&l->down, b, n, ADD, out, out);
		normalise(&l->done, out, n, hidden);
		first = last;
	}
	return 0;
}

int embed(const int32_t *ids, const int32_t *starts, int64_t texts, const float *words, int64_t vocabulary, const float *places,
	int64_t positions, int64_t hidden, const norm *n, float *y) {
	for (int64_t t = 0; t < texts; t++) {
		if (starts[t] > starts[t + 1] || starts[t + 1] - starts[t] > positions) return -1;
		for (int64_t row = starts[t]; row < starts[t + 1]; row++) {
			if (ids[row] < 0 || ids[row] >= vocabulary) return -1;
			const float *word = words + ids[row] * hidden, *place = places + (row - starts[t]) * hidden;
			for (int64_t i = 0; i < hidden; i += 16)
				_mm512_storeu_ps(y + row * hidden + i, _mm512_add_ps(_mm512_loadu_ps(word + i), _mm512_loadu_ps(place + i)));
		}
	}
	normalise(n, y, starts[texts], hidden);
	return 0;
}

void pool(const float *x, const int32_t *starts, int64_t texts, int64_t hidden, int first, int normalised, float *y) {
	for (int64_t t = 0; t < texts; t++, y += hidden) {
		int64_t rows = first ? 1 : starts[t + 1] - starts[t];
		const float *in = x + starts[t] * hidden;
		__m512 squares = _mm512_setzero_ps(), share = _mm512_set1_ps(1.0f / (float)rows);
		for (int64_t i = 0; i < hidden; i += 16) {
			__m512 sum = _mm512_setzero_ps();
			for (int64_t row = 0; row < rows; row++) sum = _mm512_add_ps(sum, _mm512_loadu_ps(in + row * hidden + i));
			sum = _mm512_mul_ps(sum, share);
			squares = _mm512_fmadd_ps(sum, sum, squares);
			_mm512_storeu_ps(y + i, sum);
		}
		if (!normalised) continue;
		float length = sqrtf(_mm512_reduce_add_ps(squares));
		__m512 factor = _mm512_set1_ps(1.0f / (length > 1e-12f ? length : 1e-12f));
		for (int64_t i = 0; i < hidden; i += 16) _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_loadu_ps(y + i), factor));
	}
}
