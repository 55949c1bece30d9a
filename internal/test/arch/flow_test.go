package arch_test

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// flow knows, of every variable, parameter and field of the program, each expression that is ever
// written to it, whichever path the program takes; and of every function what it returns and what
// it is called with. It does not run anything: what may be written is written.
type flow struct {
	*program
	writes map[types.Object][]part
	// passed has what calls give a parameter.
	passed map[types.Object][]part
	// anything holds those that something unseen may write to: Scan, a decoder, a flag.
	anything map[types.Object]leaf
	// returns has a function's return statements, by *types.Func or *ast.FuncLit.
	returns map[any][]*ast.ReturnStmt
	// owner is the function of a parameter, index its place there.
	owner map[types.Object]any
	index map[types.Object]int
	// held are the variables and fields that a function is kept in as a value; loose are functions
	// that go where their calls are not seen.
	held  map[any][]types.Object
	loose map[any]bool
	// calls are the arguments of each call of a variable that holds a function, flows the variables
	// that its value goes to.
	calls map[types.Object][][]ast.Expr
	flows map[types.Object][]types.Object
	types []*types.Named
	// quoted are the names of list quoting that a statement was built with.
	quoted map[string]bool
	// inside is the function around each return statement and call, for people.
	inside map[ast.Node]string
}

// part is an expression, or one result of a call.
type part struct {
	expr   ast.Expr
	result int
}

// leaf is where a text begins that anybody may have written.
type leaf struct{ where, what string }

func newFlow(p *program) *flow {
	f := &flow{
		program: p, writes: map[types.Object][]part{}, passed: map[types.Object][]part{}, anything: map[types.Object]leaf{}, returns: map[any][]*ast.ReturnStmt{},
		owner: map[types.Object]any{}, index: map[types.Object]int{}, held: map[any][]types.Object{}, loose: map[any]bool{},
		calls: map[types.Object][][]ast.Expr{}, flows: map[types.Object][]types.Object{}, inside: map[ast.Node]string{}, quoted: map[string]bool{},
	}
	for _, pkg := range p.packages {
		for _, name := range pkg.Scope().Names() {
			if t, ok := pkg.Scope().Lookup(name).(*types.TypeName); ok {
				if named, ok := t.Type().(*types.Named); ok && !types.IsInterface(named) {
					f.types = append(f.types, named)
				}
			}
		}
	}
	for _, file := range p.files {
		f.file(file)
	}
	return f
}

// file notes what one file writes, calls and returns.
func (f *flow) file(file *ast.File) {
	var stack []ast.Node
	ast.Inspect(file, func(node ast.Node) bool {
		if node == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		f.inside[node] = functionName(stack)
		switch node := node.(type) {
		case *ast.FuncDecl:
			f.parameters(f.info.Defs[node.Name], node.Type)
		case *ast.FuncLit:
			f.parameters(node, node.Type)
			f.hold(node, node, stack)
		case *ast.ReturnStmt:
			function := enclosing(f.info, stack)
			f.returns[function] = append(f.returns[function], node)
		case *ast.Ident:
			if function, ok := f.info.Uses[node].(*types.Func); ok {
				f.hold(function.Origin(), node, stack)
				f.rows(function, node)
			}
		case ast.Expr:
			f.expression(node)
		default:
			f.statement(node)
		}
		stack = append(stack, node)
		return true
	})
}

// enclosing returns the innermost function.
func enclosing(info *types.Info, stack []ast.Node) any {
	for _, node := range slices.Backward(stack) {
		switch node := node.(type) {
		case *ast.FuncLit:
			return node
		case *ast.FuncDecl:
			return info.Defs[node.Name]
		}
	}
	return nil
}

func functionName(stack []ast.Node) string {
	for _, node := range stack {
		if function, ok := node.(*ast.FuncDecl); ok {
			return function.Name.Name
		}
	}
	return ""
}

// parameters notes which function a parameter belongs to.
func (f *flow) parameters(function any, of *ast.FuncType) {
	i := 0
	for _, field := range of.Params.List {
		for _, name := range field.Names {
			if object := f.info.Defs[name]; object != nil {
				f.owner[object], f.index[object] = function, i
			}
			i++
		}
		if len(field.Names) == 0 {
			i++
		}
	}
}

// hold notes where a function goes as a value; one that is called on the spot goes nowhere.
func (f *flow) hold(function any, node ast.Expr, stack []ast.Node) {
	at := len(stack) - 1
	for at >= 0 {
		switch parent := stack[at].(type) {
		case *ast.ParenExpr:
			node = parent
		case *ast.SelectorExpr:
			node = parent
		case *ast.IndexExpr:
			if parent.X != node {
				f.loose[function] = true
				return
			}
			node = parent
		case *ast.CallExpr:
			if parent.Fun == node {
				return
			}
			if parameter := f.parameterFor(parent, slices.Index(parent.Args, node)); parameter != nil {
				f.held[function] = append(f.held[function], parameter)
				return
			}
			f.loose[function] = true
			return
		case *ast.AssignStmt:
			if i := slices.Index(parent.Rhs, node); i >= 0 && len(parent.Lhs) == len(parent.Rhs) {
				if holder := f.root(parent.Lhs[i]); holder != nil {
					f.held[function] = append(f.held[function], holder)
					return
				}
			}
			f.loose[function] = true
			return
		case *ast.KeyValueExpr:
			if key, ok := parent.Key.(*ast.Ident); ok && f.info.Uses[key] != nil {
				f.held[function] = append(f.held[function], f.info.Uses[key])
				return
			}
			f.loose[function] = true
			return
		default:
			f.loose[function] = true
			return
		}
		at--
	}
	f.loose[function] = true
}

// parameterFor returns the parameter of a function of the module that takes a call's argument.
func (f *flow) parameterFor(call *ast.CallExpr, argument int) types.Object {
	function, ok := f.callee(call).(*types.Func)
	if !ok || !ours(function) || argument < 0 {
		return nil
	}
	parameters := function.Signature().Params()
	if parameters.Len() == 0 {
		return nil
	}
	return parameters.At(min(argument, parameters.Len()-1))
}

// callee returns the function, or the variable that holds it; nil for a type or a literal.
func (f *flow) callee(call *ast.CallExpr) types.Object {
	fun := ast.Unparen(call.Fun)
	switch indexed := fun.(type) {
	case *ast.IndexExpr:
		fun = indexed.X
	case *ast.IndexListExpr:
		fun = indexed.X
	}
	switch fun := fun.(type) {
	case *ast.Ident:
		return origin(f.info.Uses[fun])
	case *ast.SelectorExpr:
		return origin(f.info.Uses[fun.Sel])
	}
	return nil
}

func origin(object types.Object) types.Object {
	switch object := object.(type) {
	case *types.Func:
		return object.Origin()
	case *types.Var:
		return object.Origin()
	}
	return object
}

// root returns the variable or field that an assignment to the expression changes.
func (f *flow) root(e ast.Expr) types.Object {
	switch e := e.(type) {
	case *ast.Ident:
		if object := f.info.Defs[e]; object != nil {
			return origin(object)
		}
		return origin(f.info.Uses[e])
	case *ast.SelectorExpr:
		return origin(f.info.Uses[e.Sel])
	case *ast.IndexExpr:
		return f.root(e.X)
	case *ast.SliceExpr:
		return f.root(e.X)
	case *ast.StarExpr:
		return f.root(e.X)
	case *ast.ParenExpr:
		return f.root(e.X)
	}
	return nil
}

func (f *flow) write(to types.Object, from part) {
	if to == nil {
		return
	}
	f.writes[to] = append(f.writes[to], from)
	f.flow(to, from)
}

// give notes what a call gives a parameter.
func (f *flow) give(parameter types.Object, from part) {
	f.passed[parameter] = append(f.passed[parameter], from)
	f.flow(parameter, from)
}

// flow notes that a function that one variable holds goes to another.
func (f *flow) flow(to types.Object, from part) {
	if holder := f.root(from.expr); holder != nil {
		if _, function := holder.Type().Underlying().(*types.Signature); function {
			f.flows[holder] = append(f.flows[holder], to)
		}
	}
}

// statement notes what a statement or a declaration writes.
func (f *flow) statement(node ast.Node) {
	switch node := node.(type) {
	case *ast.AssignStmt:
		for i, left := range node.Lhs {
			if len(node.Lhs) == len(node.Rhs) {
				f.write(f.root(left), part{node.Rhs[i], 0})
				f.key(left)
			} else {
				f.write(f.root(left), part{node.Rhs[0], i})
			}
		}
	case *ast.ValueSpec:
		for i, name := range node.Names {
			switch {
			case len(node.Values) == len(node.Names):
				f.write(f.info.Defs[name], part{node.Values[i], 0})
			case len(node.Values) > 0:
				f.write(f.info.Defs[name], part{node.Values[0], i})
			}
		}
	case *ast.RangeStmt:
		for _, to := range []ast.Expr{node.Key, node.Value} {
			if to == nil {
				continue
			}
			f.write(f.root(to), part{node.X, 0})
			if _, iterator := f.info.TypeOf(node.X).Underlying().(*types.Signature); iterator && !f.passes(node.X) {
				f.anything[f.root(to)] = leaf{f.place(node, f.inside[node]), "what an iterator yields, in"}
			}
		}
	case *ast.TypeSwitchStmt:
		assign, ok := node.Assign.(*ast.AssignStmt)
		if !ok {
			return
		}
		for _, clause := range node.Body.List {
			f.write(f.info.Implicits[clause], part{assign.Rhs[0], 0})
		}
	}
}

// passes says whether an iterator is one of the standard library's over what it is given.
func (f *flow) passes(iterator ast.Expr) bool {
	call, ok := ast.Unparen(iterator).(*ast.CallExpr)
	if !ok {
		return false
	}
	function, ok := f.callee(call).(*types.Func)
	return ok && slices.ContainsFunc(passing, func(prefix string) bool { return strings.HasPrefix(function.FullName(), prefix) })
}

// key notes the key of an assignment to a map's element.
func (f *flow) key(left ast.Expr) {
	if element, ok := left.(*ast.IndexExpr); ok {
		if _, isMap := f.info.TypeOf(element.X).Underlying().(*types.Map); isMap {
			f.write(f.root(element.X), part{element.Index, 0})
		}
	}
}

// expression notes what an expression writes: a call to parameters, a literal to fields, an address
// to what takes it.
func (f *flow) expression(e ast.Expr) {
	switch e := e.(type) {
	case *ast.CompositeLit:
		fields, ok := f.info.TypeOf(e).Underlying().(*types.Struct)
		if !ok {
			return
		}
		for i, element := range e.Elts {
			if keyed, ok := element.(*ast.KeyValueExpr); ok {
				f.write(origin(f.info.Uses[keyed.Key.(*ast.Ident)]), part{keyed.Value, 0})
			} else {
				f.write(origin(fields.Field(i)), part{element, 0})
			}
		}
	case *ast.UnaryExpr:
		if e.Op == token.AND && !isLiteral(e.X) {
			f.address(e)
		}
	case *ast.CallExpr:
		f.call(e)
	}
}

func isLiteral(e ast.Expr) bool {
	_, ok := ast.Unparen(e).(*ast.CompositeLit)
	return ok
}

// address notes that something unseen may write to what an address was taken of. A struct's fields
// are written by name, save where call says more.
func (f *flow) address(e *ast.UnaryExpr) {
	of := f.root(e.X)
	if of == nil {
		return
	}
	t := f.info.TypeOf(e.X)
	if _, isStruct := t.Underlying().(*types.Struct); isStruct {
		return
	}
	f.decoded(t, e)
	if !isBuffer(t) {
		f.anything[of] = leaf{f.place(e, f.inside[e]), "&" + of.Name() + ", written by"}
	}
}

// isBuffer says whether texts are added to a value by its methods.
func isBuffer(t types.Type) bool {
	if pointer, ok := t.(*types.Pointer); ok {
		t = pointer.Elem()
	}
	name := types.TypeString(t, nil)
	return name == "strings.Builder" || name == "bytes.Buffer"
}

// readers are the functions of libraries that look at what they are given and change nothing in it.
var readers = []string{
	"fmt.", "encoding/json.Marshal", "encoding/json.MarshalIndent", "(*encoding/json.Encoder).Encode", "reflect.", "sync/atomic.",
	"(*sync/atomic.", "slices.", "maps.", "errors.", "sync.", "(*github.com/rs/zerolog.", "context.", "go.uber.org/goleak.",
}

// call notes the arguments of a call.
func (f *flow) call(call *ast.CallExpr) {
	callee := f.callee(call)
	switch callee := callee.(type) {
	case *types.Func:
		if recv := callee.Signature().Recv(); recv != nil && types.IsInterface(recv.Type()) {
			for _, method := range f.implementers(callee) {
				f.pass(call, method)
			}
		}
		if ours(callee) {
			f.pass(call, callee)
			return
		}
		f.library(call, callee)
	case *types.Var:
		f.calls[callee] = append(f.calls[callee], call.Args)
	case *types.Builtin:
		if callee.Name() == "copy" {
			f.write(f.root(call.Args[0]), part{call.Args[1], 0})
		}
	}
}

// implementers returns the module's methods that a call of an interface's method may reach.
func (f *flow) implementers(method *types.Func) []*types.Func {
	wanted, ok := method.Signature().Recv().Type().Underlying().(*types.Interface)
	if !ok {
		return nil
	}
	var found []*types.Func
	for _, named := range f.types {
		if named.TypeParams().Len() > 0 || !types.Implements(types.NewPointer(named), wanted) {
			continue
		}
		object, _, _ := types.LookupFieldOrMethod(types.NewPointer(named), true, method.Pkg(), method.Name())
		if function, ok := object.(*types.Func); ok {
			found = append(found, function.Origin())
		}
	}
	return found
}

// pass writes arguments to parameters.
func (f *flow) pass(call *ast.CallExpr, function *types.Func) {
	signature := function.Signature()
	if selected, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && signature.Recv() != nil {
		f.give(signature.Recv(), part{selected.X, 0})
	}
	parameters := signature.Params()
	if parameters.Len() == 0 {
		return
	}
	for i, argument := range call.Args {
		f.give(parameters.At(min(i, parameters.Len()-1)), part{argument, 0})
	}
	if len(call.Args) == 1 && parameters.Len() > 1 { // f(g())
		for i := range parameters.Len() {
			f.give(parameters.At(i), part{call.Args[0], i})
		}
	}
}

// library notes what a function that is not ours may write to.
func (f *flow) library(call *ast.CallExpr, function *types.Func) {
	name := function.FullName()
	if selected, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && isBuffer(f.info.TypeOf(selected.X)) {
		for _, argument := range call.Args {
			f.write(f.root(selected.X), part{argument, 0})
		}
	}
	for i, argument := range call.Args {
		taken, isAddress := ast.Unparen(argument).(*ast.UnaryExpr)
		if isAddress && taken.Op == token.AND && isBuffer(f.info.TypeOf(taken.X)) {
			if strings.HasPrefix(name, "fmt.Fprint") {
				for _, printed := range call.Args[i+1:] {
					f.write(f.root(taken.X), part{printed, 0})
				}
			} else if to := f.root(taken.X); to != nil {
				f.anything[to] = leaf{f.place(call, f.inside[call]), "what " + name + " writes, in"}
			}
			continue
		}
		if slices.ContainsFunc(readers, func(reader string) bool { return strings.HasPrefix(name, reader) }) {
			continue
		}
		if pointer, ok := f.info.TypeOf(argument).(*types.Pointer); ok && takesAnything(function, i) {
			f.decoded(pointer.Elem(), call)
		}
	}
}

// takesAnything says whether a function's parameter is of no type in particular, as a decoder's is.
func takesAnything(function *types.Func, argument int) bool {
	parameters := function.Signature().Params()
	if parameters.Len() == 0 {
		return false
	}
	t := parameters.At(min(argument, parameters.Len()-1)).Type()
	if list, ok := t.(*types.Slice); ok {
		t = list.Elem()
	}
	_, generic := t.(*types.TypeParam)
	wanted, ok := t.Underlying().(*types.Interface)
	return generic || ok && wanted.Empty()
}

// rows notes the structs that pgx fills with a row.
func (f *flow) rows(function *types.Func, at *ast.Ident) {
	if !strings.HasPrefix(function.FullName(), "github.com/jackc/pgx/v5.RowTo") {
		return
	}
	for filled := range f.info.Instances[at].TypeArgs.Types() {
		f.decoded(filled, at)
	}
}

// decoded notes that every field of a struct of ours may have any value.
func (f *flow) decoded(t types.Type, at ast.Node) {
	named, fields := structure(t)
	if fields == nil || named != nil && !ours(named.Obj()) {
		return
	}
	for field := range fields.Fields() {
		if _, done := f.anything[origin(field)]; done {
			continue
		}
		name := field.Name()
		if named != nil {
			name = named.Obj().Name() + "." + name
		}
		f.anything[origin(field)] = leaf{f.place(at, f.inside[at]), name + ", decoded by"}
		f.decoded(field.Type(), at)
	}
}

// structure returns the struct in a type: itself, what it points to, or its elements.
func structure(t types.Type) (*types.Named, *types.Struct) {
	for {
		named, _ := types.Unalias(t).(*types.Named)
		switch under := t.Underlying().(type) {
		case *types.Struct:
			return named, under
		case *types.Pointer:
			t = under.Elem()
		case *types.Slice:
			t = under.Elem()
		case *types.Array:
			t = under.Elem()
		case *types.Map:
			t = under.Elem()
		default:
			return nil, nil
		}
	}
}
