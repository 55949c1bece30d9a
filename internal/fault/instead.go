package fault

import "errors"

// Instead returns an error with another advice, where it is an *Error; any other error as it is.
func Instead(err error, try string) error {
	found, is := errors.AsType[*Error](err)
	if !is {
		return err
	}
	other := *found
	other.Try = try
	return &other
}
