package arch_test

import (
	"go/ast"
	"go/constant"
	"go/types"
	"testing"
)

// makers are the functions that make files and folders with a mode, their last argument. os.Create
// has one of its own, of which the umask takes the permissions of others, but not where the folder
// has a default access control list.
var makers = map[string]bool{
	"os.Create": true, "os.Mkdir": true, "os.MkdirAll": true, "os.OpenFile": true, "os.WriteFile": true, "os.Chmod": true, "(*os.File).Chmod": true,
	"os.CopyFS": true, module + "internal/safefile.Replace": true,
}

// open returns the place of every file or folder that the program makes writable by others, by a
// mode that is a constant.
func (f *flow) open() map[string]bool {
	found := map[string]bool{}
	for _, file := range f.files {
		if testHelper(f.place(file, "")) {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			callee, ok := f.callee(call).(*types.Func)
			if !ok || !makers[callee.FullName()] {
				return true
			}
			others := callee.Name() == "Create" || callee.Name() == "CopyFS"
			for _, argument := range call.Args {
				of := f.info.Types[argument]
				if of.Value != nil && of.Value.Kind() == constant.Int && types.Unalias(of.Type).String() == "io/fs.FileMode" {
					mode, _ := constant.Int64Val(of.Value)
					others = others || mode&0o022 != 0
				}
			}
			if others {
				found[f.place(node, f.inside[node])] = true
			}
			return true
		})
	}
	return found
}

// TestNothingIsMadeForOthersToWrite: a mode without the group's write permission is also the most
// that a folder's default access control list gives; see package safefile.
func TestNothingIsMadeForOthersToWrite(t *testing.T) {
	t.Parallel()
	for where := range newFlow(wholeProgram(t)).open() {
		t.Errorf("%s makes a file or folder that others may write", where)
	}
}

func TestWhatIsMadeForOthersToWriteIsFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, body string) {
		t.Helper()
		code := "package sink\nimport \"os\"\nfunc f(file *os.File) {\n" + body + "\n}\n"
		if got := len(flowOf(t, code).open()) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
	f(true, `os.Create("x")`)
	f(true, `os.CopyFS("x", os.DirFS("y"))`)
	f(true, `os.MkdirAll("x", 0o777)`)
	f(true, `os.WriteFile("x", nil, 0o664)`)
	f(true, `os.OpenFile("x", os.O_RDWR, 0o602)`)
	f(true, `file.Chmod(0o775)`)
	f(false, `os.MkdirAll("x", 0o755)`)
	f(false, `os.OpenFile("x", os.O_RDWR|os.O_CREATE, 0o644)`)
	f(false, `file.Chmod(0o1755)`)
}
