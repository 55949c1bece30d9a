package change

// A row that its soft-delete column marks as deleted, and one without a text, have no vector.

// SoftDeletes reports whether the soft-delete column marks a row, by the column's value there:
// whether it is NULL, and its text. The statements that read rows say the same in SQL
// (source_soft_deleted).
func (t Table) SoftDeletes(null bool, text []byte) bool {
	if !t.SoftDeleteBool {
		return !null
	}
	return string(text) == "t"
}

// WithoutVector says why a row that is rendered as deleted has no vector.
func (r Row) WithoutVector() string {
	if r.SoftDeleted {
		return "the row is soft-deleted"
	}
	return "the row has no text"
}
