// Package statement runs one statement that has no parameters, and never several. A text that was
// meant as one statement and holds two is refused by the server as a whole, before it runs any of
// it. It does not quote: names in a statement are quoted already.
package statement
