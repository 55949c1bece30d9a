package change

import "math"

// Cosine returns the cosine of two vectors of one dimension. It is NaN where one of them has no
// direction (a zero vector), or a component that is NaN or infinite.
func Cosine(x, y []float32) float64 { return dot(x, y) / math.Sqrt(dot(x, x)*dot(y, y)) }

// Length returns the Euclidean length of a vector.
func Length(x []float32) float64 { return math.Sqrt(dot(x, x)) }

func dot(x, y []float32) float64 {
	var sum float64
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}
