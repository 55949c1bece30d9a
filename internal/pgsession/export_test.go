package pgsession

// KeepPassword is keepPassword.
var KeepPassword = keepPassword
