package change

// WithoutVector says why a row that is rendered as deleted has no vector.
func (r Row) WithoutVector() string {
	if r.SoftDeleted {
		return "the row is soft-deleted"
	}
	return "the row has no text"
}
