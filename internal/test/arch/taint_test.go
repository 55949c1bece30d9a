package arch_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// checkedTypes are the types whose values are safe parts of a statement wherever they come from,
// since nothing but a checked constructor makes one; each with the check. Such a type has no
// exported field and is no plain string.
var checkedTypes = map[string]string{}

// quoting are the functions whose result is a safe part of a statement, whatever they are given.
var quoting = map[string]string{
	"github.com/wal2vec/wal2vec/sql.Query":                  "a file of ours, whichever it is",
	"github.com/wal2vec/wal2vec/internal/pgname.Identifier": "a quoted name",
	"github.com/wal2vec/wal2vec/internal/pgname.Qualified":  "quoted names",
	"github.com/wal2vec/wal2vec/internal/pgname.List":       "quoted names",
	"github.com/wal2vec/wal2vec/internal/pgname.Catalogue":  "a text with quoted names",
	"github.com/wal2vec/wal2vec/internal/pgname.Literal":    "a quoted constant",
	"github.com/wal2vec/wal2vec/internal/pgname.Plain":      "a quoted constant of a replication command",
	"(github.com/wal2vec/wal2vec/internal/change.Type).SQL": "one of six names, or one quoted name",
}

// passing are the functions of the standard library whose result is as safe as what they are given.
var passing = []string{
	"strings.", "(*strings.Builder).", "(*bytes.Buffer).", "slices.", "maps.", "fmt.Sprint", "fmt.Append", "strconv.Itoa",
	"strconv.FormatInt", "strconv.FormatUint", "strconv.FormatFloat", "strconv.AppendInt",
}

// search collects the leaves that a text may come from.
type search struct {
	*flow
	seen   map[any]bool
	leaves map[leaf]bool
	// filling are the structs that a template is filled with: it calls their methods.
	filling map[*types.Named]bool
	frames  map[frameOf]*frame
}

// frame is one call on the way to a text: in it, a parameter is what this call gives. A nil frame
// stands for every call.
type frame struct {
	caller *frame
	depth  int
	given  map[types.Object][]ast.Expr
}

// deepest is how many calls are told apart one inside the other.
const deepest = 4

type (
	frameOf struct {
		call   *ast.CallExpr
		caller *frame
	}
	resultOf struct {
		function any
		result   int
		in       *frame
	}
	valueOf  resultOf
	objectIn struct {
		object types.Object
		in     *frame
	}
)

// enter returns the frame of a call of a function of ours.
func (s *search) enter(call *ast.CallExpr, function *types.Func, in *frame) *frame {
	signature := function.Signature()
	if depth(in) >= deepest || len(call.Args) != signature.Params().Len() && !signature.Variadic() {
		return nil
	}
	key := frameOf{call, in}
	if known := s.frames[key]; known != nil {
		return known
	}
	entered := &frame{caller: in, depth: depth(in) + 1, given: map[types.Object][]ast.Expr{}}
	s.frames[key] = entered
	if selected, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && signature.Recv() != nil {
		entered.given[signature.Recv()] = []ast.Expr{selected.X}
	}
	for parameter := range signature.Params().Variables() {
		entered.given[parameter] = []ast.Expr{}
	}
	for i, argument := range call.Args {
		parameter := signature.Params().At(min(i, signature.Params().Len()-1))
		entered.given[parameter] = append(entered.given[parameter], argument)
	}
	return entered
}

func depth(in *frame) int {
	if in == nil {
		return 0
	}
	return in.depth
}

// leavesOf returns where a text comes from that is not safe.
func (f *flow) leavesOf(parts ...ast.Expr) []leaf {
	s := search{flow: f, seen: map[any]bool{}, leaves: map[leaf]bool{}, filling: map[*types.Named]bool{}, frames: map[frameOf]*frame{}}
	for _, e := range parts {
		s.expression(part{e, 0}, nil)
	}
	var found []leaf
	for l := range s.leaves {
		found = append(found, l)
	}
	slices.SortFunc(found, func(a, b leaf) int { return strings.Compare(a.where+a.what, b.where+b.what) })
	return found
}

func (s *search) leaf(at ast.Node, format string, args ...any) {
	s.leaves[leaf{s.place(at, s.inside[at]), fmt.Sprintf(format, args...) + ", in"}] = true
}

func recvOf(function *types.Func) types.Type {
	if recv := function.Signature().Recv(); recv != nil {
		return recv.Type()
	}
	return types.Typ[types.Invalid]
}

func isChecked(t types.Type) bool {
	if pointer, ok := t.(*types.Pointer); ok {
		t = pointer.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	return ok && checkedTypes[types.TypeString(named, nil)] != ""
}

// unchecked says where a value of a checked type is made past its constructor, or may be.
func (f *flow) unchecked() []string {
	var wrong []string
	for variable, l := range f.anything {
		if isChecked(variable.Type()) && !readsItself(variable.Type()) {
			wrong = append(wrong, fmt.Sprintf("%s of the checked type %s; give the type a Scan or an Unmarshal that checks", l, variable.Type()))
		}
	}
	for _, named := range f.types {
		if fields, ok := named.Underlying().(*types.Struct); ok && isChecked(named) {
			for field := range fields.Fields() {
				if field.Exported() {
					wrong = append(wrong, fmt.Sprintf("the checked type %s has the exported field %s", named, field.Name()))
				}
			}
		}
	}
	for i, file := range f.files {
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || !f.info.Types[call.Fun].IsType() || f.info.Types[call.Args[0]].Value != nil {
				return true
			}
			if made := f.info.TypeOf(call); isChecked(made) && types.Unalias(made).(*types.Named).Obj().Pkg() != f.owners[i] {
				wrong = append(wrong, fmt.Sprintf("%s converts a text to the checked type %s", f.place(call, f.inside[call]), made))
			}
			return true
		})
	}
	return wrong
}

func isInteger(t types.Type) bool {
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsInteger != 0
}

// readsItself says whether a type has the method by which a row or a file fills it.
func readsItself(t types.Type) bool {
	for _, name := range []string{"Scan", "UnmarshalText", "UnmarshalJSON", "UnmarshalYAML"} {
		if method, _, _ := types.LookupFieldOrMethod(types.NewPointer(t), true, nil, name); method != nil {
			return true
		}
	}
	return false
}

// harmless says whether no value of a type can be more than a number or a word of ours.
func harmless(t types.Type) bool {
	if isChecked(t) {
		return true
	}
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsString == 0
}

func (s *search) expression(p part, in *frame) {
	e := ast.Unparen(p.expr)
	known := s.info.Types[e]
	if known.Value != nil || known.IsNil() || known.Type != nil && harmless(known.Type) {
		return
	}
	switch e := e.(type) {
	case *ast.Ident:
		s.object(s.root(e), e, in)
	case *ast.SelectorExpr:
		s.object(s.root(e), e, in)
	case *ast.BinaryExpr:
		s.expression(part{e.X, 0}, in)
		s.expression(part{e.Y, 0}, in)
	case *ast.IndexExpr:
		s.expression(part{e.X, 0}, in)
	case *ast.SliceExpr:
		s.expression(part{e.X, 0}, in)
	case *ast.StarExpr:
		s.expression(part{e.X, 0}, in)
	case *ast.TypeAssertExpr:
		s.expression(part{e.X, 0}, in)
	case *ast.UnaryExpr:
		if e.Op == token.AND {
			s.expression(part{e.X, 0}, in)
		} else {
			s.leaf(e, "what a channel carries")
		}
	case *ast.CompositeLit:
		for _, element := range e.Elts {
			if keyed, ok := element.(*ast.KeyValueExpr); ok {
				if _, isField := s.info.TypeOf(e).Underlying().(*types.Struct); !isField {
					s.expression(part{keyed.Key, 0}, in)
				}
				element = keyed.Value
			}
			s.expression(part{element, 0}, in)
		}
		s.methods(s.info.TypeOf(e))
	case *ast.CallExpr:
		s.call(e, p.result, in)
	case *ast.FuncLit: // as a value it is no text; what it returns is looked at where it is called
	default:
		s.leaf(e, "%T", e)
	}
}

// sources returns what is written to a variable in a frame, with the frame that each part belongs
// to.
func (s *search) sources(variable types.Object, in *frame) map[*frame][]part {
	found := map[*frame][]part{in: s.writes[variable]}
	if in != nil && in.given[variable] != nil {
		for _, e := range in.given[variable] {
			found[in.caller] = append(slices.Clone(found[in.caller]), part{e, 0})
		}
		return found
	}
	found[nil] = append(slices.Clone(found[nil]), s.passed[variable]...)
	return found
}

// object looks at everything that is written to a variable, parameter or field.
func (s *search) object(object types.Object, at ast.Expr, in *frame) {
	variable, ok := object.(*types.Var)
	if !ok {
		if _, ok := object.(*types.Func); !ok {
			s.leaf(at, "%v", object)
		}
		return
	}
	if variable.IsField() || variable.Pkg() == nil || variable.Parent() == variable.Pkg().Scope() {
		in = nil // the same in every call
	}
	key := objectIn{variable, in}
	if s.seen[key] || harmless(variable.Type()) {
		return
	}
	s.seen[key] = true
	if !ours(variable) {
		s.leaf(at, "%s of a library", variable.Name())
		return
	}
	if l, ok := s.anything[variable]; ok {
		s.leaves[l] = true
		return
	}
	if named, fields := structure(variable.Type()); fields != nil && !isBuffer(variable.Type()) {
		s.fields(named, fields, at)
		return
	}
	if in == nil || in.given[variable] == nil {
		switch function := s.owner[variable].(type) {
		case *ast.FuncLit:
			s.arguments(function, variable, at)
		case *types.Func:
			s.parameter(function, variable, at)
		}
	}
	for where, parts := range s.sources(variable, in) {
		for _, from := range parts {
			s.expression(from, where)
		}
	}
}

// parameter asks who calls a function. Its direct calls were written to the parameter.
func (s *search) parameter(function *types.Func, variable *types.Var, at ast.Expr) {
	function = function.Origin()
	if s.loose[function] {
		s.leaf(at, "parameter %s of %s, whose calls are not seen", variable.Name(), function.Name())
	}
	if len(s.held[function]) > 0 {
		s.arguments(function, variable, at)
	} else if len(s.passed[variable]) == 0 && !s.fills(function) {
		s.leaf(at, "parameter %s of %s, which nothing calls", variable.Name(), function.Name())
	}
}

// fills says whether a template calls the method.
func (s *search) fills(function *types.Func) bool {
	recv := function.Signature().Recv()
	if recv == nil {
		return false
	}
	named, _ := structure(recv.Type())
	return named != nil && s.filling[named]
}

// arguments looks at the calls of a function that is kept as a value.
func (s *search) arguments(function any, variable *types.Var, at ast.Expr) {
	if s.loose[function] || len(s.held[function]) == 0 {
		s.leaf(at, "parameter %s of a function whose calls are not seen", variable.Name())
	}
	seen := map[types.Object]bool{}
	var follow func(holder types.Object)
	follow = func(holder types.Object) {
		if seen[holder] {
			return
		}
		seen[holder] = true
		for _, arguments := range s.calls[holder] {
			if i := s.index[variable]; i < len(arguments) {
				s.expression(part{arguments[i], 0}, nil)
			}
		}
		for _, next := range s.flows[holder] {
			follow(next)
		}
	}
	for _, holder := range s.held[function] {
		follow(holder)
	}
}

// fields looks at a struct as a whole, with the methods that a template may call.
func (s *search) fields(named *types.Named, fields *types.Struct, at ast.Expr) {
	if named != nil && checkedTypes[types.TypeString(named, nil)] != "" {
		return
	}
	if named != nil && strings.HasPrefix(types.TypeString(named, nil), "github.com/jackc/pglogrepl.") && strings.HasSuffix(named.Obj().Name(), "Options") {
		for field := range fields.Fields() { // which nothing but its users writes to
			for _, from := range s.writes[field] {
				s.expression(from, nil)
			}
		}
		return
	}
	if named != nil && !ours(named.Obj()) {
		s.leaf(at, "%s of a library", named.Obj().Name())
		return
	}
	if fields == nil || s.seen[fields] {
		return
	}
	s.seen[fields] = true
	if named != nil {
		s.methods(named)
	}
	for field := range fields.Fields() {
		s.object(origin(field), at, nil)
	}
}

// methods looks at what the methods of a template's data return.
func (s *search) methods(t types.Type) {
	named, _ := structure(t)
	if named == nil || !ours(named.Obj()) || s.filling[named] {
		return
	}
	s.filling[named] = true
	for method := range named.Methods() {
		if method.Exported() {
			for i := range method.Signature().Results().Len() {
				s.result(method.Origin(), i, nil, nil)
			}
		}
	}
}

// call looks at one result of a call.
func (s *search) call(call *ast.CallExpr, result int, in *frame) {
	if s.info.Types[call.Fun].IsType() {
		if argument := s.info.Types[call.Args[0]]; argument.Value == nil && !argument.IsNil() && isInteger(argument.Type) {
			s.leaf(call, "a character")
		}
		s.expression(part{call.Args[0], 0}, in)
		return
	}
	if literal, ok := ast.Unparen(call.Fun).(*ast.FuncLit); ok {
		s.result(literal, result, call, in)
		return
	}
	switch callee := s.callee(call).(type) {
	case *types.Builtin:
		for _, argument := range call.Args {
			if s.info.Types[argument].IsType() {
				continue
			}
			s.expression(part{argument, 0}, in)
		}
	case *types.Func:
		s.function(call, callee, part{call, result}, in)
	case *types.Var:
		s.value(callee, part{call, result}, in)
	default:
		s.leaf(call, "a call")
	}
}

// function looks at a call of a function that has a name.
func (s *search) function(call *ast.CallExpr, callee *types.Func, of part, in *frame) {
	result, name := of.result, callee.FullName()
	if callee.Signature().Results().Len() > result && harmless(callee.Signature().Results().At(result).Type()) {
		return
	}
	switch {
	case quoting[name] != "":
		s.quoted[name] = true
	case isChecked(recvOf(callee)):
	case name == module+"sql.Render":
		s.expression(part{call.Args[1], 0}, in)
	case name == "("+module+"sql.Migration).Render":
		s.expression(part{call.Args[0], 0}, in)
	case slices.ContainsFunc(passing, func(prefix string) bool { return strings.HasPrefix(name, prefix) }):
		if selected, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && callee.Signature().Recv() != nil {
			s.expression(part{selected.X, 0}, in)
		}
		for _, argument := range call.Args {
			s.argument(argument, in)
		}
	case !ours(callee):
		s.leaf(call, "the result of %s", name)
	case callee.Signature().Recv() != nil && types.IsInterface(callee.Signature().Recv().Type()):
		methods := s.implementers(callee)
		if len(methods) == 0 {
			s.leaf(call, "the result of %s", name)
		}
		for _, method := range methods {
			s.result(method, result, call, nil)
		}
	default:
		s.result(callee, result, call, s.enter(call, callee, in))
	}
}

// argument looks at what a passing function is given; of a function, at what it returns.
func (s *search) argument(argument ast.Expr, in *frame) {
	if literal, ok := ast.Unparen(argument).(*ast.FuncLit); ok {
		s.result(literal, 0, argument, in)
		return
	}
	if object, ok := s.root(argument).(*types.Func); ok {
		s.result(object, 0, argument, nil)
		return
	}
	s.expression(part{argument, 0}, in)
}

// value looks at a call of whatever function a variable holds.
func (s *search) value(holder types.Object, of part, in *frame) {
	key := valueOf{holder, of.result, in}
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	none := true
	for where, parts := range s.sources(holder, in) {
		for _, from := range parts {
			none = false
			s.kept(from.expr, of, where)
		}
	}
	if none {
		s.leaf(of.expr, "the result of %s, a function that is not seen", holder.Name())
	}
}

// kept looks at a call of the function that an expression stands for.
func (s *search) kept(function ast.Expr, of part, in *frame) {
	if literal, ok := ast.Unparen(function).(*ast.FuncLit); ok {
		s.result(literal, of.result, of.expr, in)
		return
	}
	switch object := s.root(function).(type) {
	case *types.Func:
		s.result(object, of.result, of.expr, nil)
	case *types.Var:
		s.value(object, of, in)
	default:
		if !s.info.Types[function].IsNil() {
			s.leaf(of.expr, "the result of a function that is not seen")
		}
	}
}

// result looks at what a function returns.
func (s *search) result(function any, result int, at ast.Expr, in *frame) {
	key := resultOf{function, result, in}
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	var results *types.Tuple
	if object, ok := function.(*types.Func); ok {
		results = object.Signature().Results()
		if quoting[object.FullName()] != "" || isChecked(recvOf(object)) {
			s.quoted[object.FullName()] = true
			return
		}
	} else {
		results = s.info.TypeOf(function.(*ast.FuncLit)).(*types.Signature).Results()
	}
	if result < results.Len() && harmless(results.At(result).Type()) {
		return
	}
	if len(s.returns[function]) == 0 && at != nil {
		s.leaf(at, "the result of a function that is not seen")
	}
	for _, r := range s.returns[function] {
		switch {
		case len(r.Results) == 0:
			s.object(results.At(result), at, in)
		case len(r.Results) == results.Len():
			s.expression(part{r.Results[result], 0}, in)
		default:
			s.expression(part{r.Results[0], result}, in)
		}
	}
}
