package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// newCheckup is a world on a server that the doctor has nothing to say about.
func newCheckup(t *testing.T, n int) *world {
	t.Helper()
	return newCheckupOf(t, pgtest.Major(), n)
}

func newCheckupOf(t *testing.T, major, n int) *world {
	t.Helper()
	host := pgtest.ServerOf(t, major, "fsync=on", "full_page_writes=on", "synchronous_commit=off", "max_slot_wal_keep_size=1GB")
	w := newWorldOn(t, host.Database(t), n)
	w.env = append(w.env, "HOME="+w.dir)
	return w
}

// doctor runs the doctor and returns its report; it must end with the exit code.
func (w *world) doctor(code int, extra []string, args ...string) doctor.Report {
	w.t.Helper()
	got := w.ends(extra, "", append([]string{"doctor", "-o", "json"}, args...)...)
	var report doctor.Report
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		w.t.Fatalf("%v:\n%s%s", err, got.stdout, got.stderr)
	}
	if got.code != code {
		w.t.Errorf("exit code %d, want %d:\n%s%s", got.code, code, findingsText(report), got.stderr)
	}
	w.keepsSecrets(w.t, got.stdout+got.stderr)
	return report
}

// findingsText is what is not well.
func findingsText(r doctor.Report) string {
	var text strings.Builder
	for _, f := range r.Findings {
		if f.Status != doctor.OK {
			text.WriteString(string(f.Status) + " " + f.Check + " " + f.Text + " (" + f.Fix + ")\n")
		}
	}
	return text.String()
}

func (w *world) finds(r doctor.Report, check string, status doctor.Status) doctor.Finding {
	w.t.Helper()
	i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == check && f.Status == status })
	if i < 0 {
		w.t.Errorf("%s is not %s:\n%s", check, status, findingsText(r))
		return doctor.Finding{}
	}
	return r.Findings[i]
}

func TestTheDoctorSeesAPipelineThroughItsLife(t *testing.T) {
	w := newCheckup(t, 30)
	if f := w.finds(w.doctor(3, nil), "sink.schema", doctor.Fail); !strings.HasPrefix(f.Fix, "wal2vec init") {
		t.Errorf("%+v", f)
	}
	before := w.ends(nil, "", "doctor")
	if n := strings.Count(before.stdout, "\nskip  "); n != 1 || strings.Count(before.stdout, "\n  skip  ") > 3 || !strings.Contains(before.stdout, "checks: a check that it needs fails or could not be made (-o json names them)\n") {
		t.Errorf("%d lines of skipped checks:\n%s", n, before.stdout)
	}
	if !strings.Contains(before.stderr, "error: 1 check fails, ") {
		t.Errorf("it ends with %s", before.stderr)
	}
	w.run("init")
	report := w.doctor(0, nil)
	w.finds(report, "pipeline.stream", doctor.Warn)
	w.finds(report, "model.selftest", doctor.OK)
	stream := w.start(nil, "stream")
	p := w.start(nil, "backfill")
	if err := p.wait(); err != nil {
		t.Fatalf("%v:\n%s", err, p.output)
	}
	things := w.footprint()
	report = w.doctor(0, nil, "--probe")
	for _, check := range append(doctor.Checks(), doctor.ProbeChecks()...) {
		want := doctor.OK
		switch check.Name {
		case "role.power", "role.source", "role.cluster": // the test's role is a superuser
			want = doctor.Warn
		case "sink.pgvector":
			if files := pgtest.One[string](t, w.db, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"); sink.CheckLibrary(files) != nil {
				want = doctor.Warn
			}
		}
		w.finds(report, check.Name, want)
	}
	for _, f := range report.Findings {
		if strings.HasPrefix(f.Check, "probe.") {
			t.Logf("%s: %s", f.Check, f.Text)
		}
	}
	if left := w.footprint(); !slices.Equal(things, left) {
		t.Errorf("it left\n%s\nwhere there was\n%s", left, things)
	}
	got := w.ends(nil, "", "doctor", "--probe", "--probe-key", "7")
	for _, words := range []string{"probe: updates the row 7 of \"staging_marts\".\"dim_product\"", "probe: writes a message"} {
		if !strings.Contains(got.stderr, words) {
			t.Errorf("it does not say %q:\n%s", words, got.stderr)
		}
	}
	if got.code != 0 || !strings.Contains(got.stdout, "probe.search") || !strings.Contains(got.stdout, " 0 fail, 0 skip") {
		t.Errorf("exit code %d:\n%s", got.code, got.stdout)
	}
	stream.stop()
	w.db.Exec(t, "DROP PUBLICATION wal2vec_"+w.db.Name)
	w.finds(w.doctor(3, nil), "publication.present", doctor.Fail)
}

func TestTheDoctorsEnds(t *testing.T) {
	w := newCheckup(t, 3)
	w.env = append(w.env, modelled...)
	f := w.finds(w.doctor(3, []string{"WAL2VEC_SOURCE_KEY=a,a", "WAL2VEC_LOG_LEVEL=loud"}), "config.load", doctor.Fail)
	if !strings.Contains(f.Text, "source.key") || !strings.Contains(f.Text, "log.level") {
		t.Errorf("%+v", f)
	}
	w.run("init")
	report := w.doctor(5, []string{"WAL2VEC_SINK_DSN=" + w.db.DSN, "WAL2VEC_SOURCE_DSN=postgres://u:" + hunter + "@127.0.0.1:1/nowhere"})
	w.finds(report, "source.reach", doctor.Skip)
	w.finds(report, "sink.reach", doctor.OK)
	if got := w.ends(nil, "", "doctor", "-o", "xml"); got.code != 2 {
		t.Errorf("exit code %d", got.code)
	}
	w.finds(w.doctor(3, []string{"WAL2VEC_ENCODER_MODEL=nothing"}), "model.parts", doctor.Fail)
	w.finds(w.doctor(3, []string{"WAL2VEC_SOURCE_TEMPLATE={name}"}), "model.fingerprint", doctor.Fail)
	w.finds(w.doctor(3, []string{"WAL2VEC_ENCODER_DEVICE=cuda"}), "model.selftest", doctor.Fail)
}

func TestWhatAProbeFinds(t *testing.T) {
	w := newCheckup(t, 30)
	w.run("init")
	f := w.finds(w.doctor(3, nil, "--probe"), "probe.stream", doctor.Fail)
	if f.Fix != "wal2vec stream" {
		t.Errorf("%+v", f)
	}
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.finds(w.doctor(3, nil, "--probe"), "probe.row", doctor.Fail) // no row has a vector
	p := w.start(nil, "backfill")
	if err := p.wait(); err != nil {
		t.Fatalf("%v:\n%s", err, p.output)
	}
	w.finds(w.doctor(3, nil, "--probe-key", "999"), "probe.row", doctor.Fail)

	role, password := w.db.Role(t, "REPLICATION")
	w.db.Exec(t, "GRANT pg_monitor TO "+role+"; GRANT USAGE ON SCHEMA staging_marts TO "+role+"; GRANT SELECT ON "+product+" TO "+role)
	as := []string{"WAL2VEC_SINK_DSN=" + w.db.DSN, "WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(role, password)}
	report := w.doctor(0, as, "--probe") // by the message alone
	if f = w.finds(report, "probe.write", doctor.OK); !strings.Contains(f.Text, "no row is written, the message alone was sent") {
		t.Errorf("%+v", f)
	}
	w.finds(report, "probe.search", doctor.OK)
	trusting := append(slices.Clip(as), "WAL2VEC_SOURCE_TRUST_OWNER=true")
	f = w.finds(w.doctor(3, trusting, "--probe"), "probe.write", doctor.Fail)
	if !strings.Contains(f.Fix, "role.source warns of it until: REVOKE UPDATE") {
		t.Errorf("%+v", f)
	}
	w.db.Exec(t, f.Fix)
	report = w.doctor(0, trusting, "--probe")
	w.finds(report, "probe.search", doctor.OK)
	found := false
	for _, f := range report.Findings {
		found = found || f.Check == "role.source" && strings.Contains(f.Text, "UPDATE") && strings.Contains(f.Text, "--probe")
	}
	if !found {
		t.Errorf("role.source does not say what the right is for:\n%s", findingsText(report))
	}

	owner, _ := w.db.Role(t, "")
	w.db.Exec(t, "CREATE TABLE public.ran (); CREATE SCHEMA others AUTHORIZATION "+owner+"; GRANT USAGE ON SCHEMA others TO PUBLIC; GRANT INSERT ON public.ran TO "+role+
		"; SET ROLE "+owner+"; CREATE FUNCTION others.run() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.ran DEFAULT VALUES; RETURN new; END'; "+
		"RESET ROLE; CREATE TRIGGER runs BEFORE UPDATE ON "+product+" FOR EACH ROW EXECUTE FUNCTION others.run()")
	if f = w.finds(w.doctor(3, nil, "--probe"), "probe.write", doctor.Fail); !strings.Contains(f.Text, "trigger runs calls others.run()") {
		t.Errorf("%+v", f)
	}
	w.finds(w.doctor(0, as, "--probe"), "probe.write", doctor.OK)
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM public.ran"); n != 0 {
		t.Errorf("the function of another role ran %d times", n)
	}
	w.finds(w.doctor(0, trusting, "--probe"), "probe.search", doctor.OK)
	w.db.Exec(t, "DROP TRIGGER runs ON "+product)

	vectors := "wal2vec." + pgtest.One[string](t, w.db, "SELECT vector_table FROM wal2vec.generation")
	w.db.Exec(t, "UPDATE "+vectors+
		" SET embedding = ('[' || array_to_string(ARRAY(SELECT -x FROM unnest(embedding::real[]) AS x), ',') || ']')::vector WHERE product_id = 7")
	w.finds(w.doctor(3, nil, "--probe-key", "7"), "probe.search", doctor.Fail)

	stream.signal(syscall.SIGSTOP)
	w.finds(w.doctor(5, nil, "--probe-key", "7", "--probe-wait", "500ms"), "probe.log", doctor.Skip)
	stream.signal(syscall.SIGCONT)
	// The message passes, and the row waits for a lock in the sink.
	holder := w.sink.Conn(t)
	for _, statement := range []string{"BEGIN", "SELECT FROM wal2vec.ledger_" + w.db.Name + " WHERE product_id = 7 FOR UPDATE"} {
		if _, err := holder.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	w.finds(w.doctor(5, nil, "--probe-key", "7", "--probe-wait", "5s"), "probe.row", doctor.Skip)
}

// TestAProbeOfAnyTable: of one whose key takes no value, of rows without a vector, and of none.
func TestAProbeOfAnyTable(t *testing.T) {
	w := newCheckup(t, 0)
	w.env = append(w.env, "WAL2VEC_SOURCE_TABLE=public.thing", "WAL2VEC_SOURCE_KEY=id", "WAL2VEC_SOURCE_TEMPLATE={name}", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	w.db.Exec(t, `CREATE TABLE public.thing (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, deleted boolean, changed timestamptz);
		CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.changed = clock_timestamp(); RETURN new; END';
		CREATE TRIGGER touch BEFORE UPDATE ON public.thing FOR EACH ROW EXECUTE FUNCTION touch()`)
	w.run("init")
	w.start(nil, "stream").waitFor("streaming")
	if f := w.finds(w.doctor(0, nil, "--probe"), "probe.row", doctor.OK); !strings.Contains(f.Text, "empty") {
		t.Errorf("%+v", f)
	}
	w.db.Exec(t, "INSERT INTO public.thing (name, deleted) VALUES ('one', true), (NULL, false), ('three', NULL)")
	w.settle()
	w.finds(w.doctor(0, nil, "--probe"), "probe.search", doctor.OK)
	for _, key := range []string{"1", "2", "3"} {
		w.finds(w.doctor(0, nil, "--probe-key", key), "probe.search", doctor.OK)
	}
	w.db.Exec(t, "CREATE TRIGGER z BEFORE UPDATE ON public.thing FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); DROP TRIGGER touch ON public.thing")
	if f := w.finds(w.doctor(3, nil, "--probe"), "probe.row", doctor.Fail); !strings.Contains(f.Text, "trigger") {
		t.Errorf("%+v", f)
	}
}

// TestAProbeWritesNoTableOfAnotherRole, nor one that has a partition of another role: no look at
// what an update runs is as late as the update.
func TestAProbeWritesNoTableOfAnotherRole(t *testing.T) {
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			w := newCheckupOf(t, major, 0)
			w.env = append(w.env, "WAL2VEC_SOURCE_TABLE=public.thing", "WAL2VEC_SOURCE_KEY=id", "WAL2VEC_SOURCE_TEMPLATE={name}", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
			owner, _ := w.db.Role(t, "")
			w.db.Exec(t, `CREATE TABLE public.thing (id bigint PRIMARY KEY, name text, deleted boolean) PARTITION BY RANGE (id);
				CREATE TABLE public.middle PARTITION OF public.thing DEFAULT PARTITION BY HASH (id);
				CREATE TABLE public.part PARTITION OF public.middle FOR VALUES WITH (MODULUS 1, REMAINDER 0); INSERT INTO public.thing VALUES (1, 'one', false)`)
			w.run("init")
			w.start(nil, "stream").waitFor("streaming")
			w.run("backfill")
			versions := func() string {
				return pgtest.One[string](t, w.db, "SELECT string_agg(xmin::text, ',') FROM public.thing")
			}
			before := versions()
			w.finds(w.doctor(0, nil, "--probe", "--probe-key", "1"), "probe.search", doctor.OK)
			if versions() == before {
				t.Error("no row is written of a table that is the role's own: the test shows nothing")
			}
			before = versions()
			w.db.Exec(t, "ALTER SCHEMA public OWNER TO "+owner)
			if f := w.finds(w.doctor(0, nil, "--probe"), "probe.write", doctor.OK); !strings.Contains(f.Text, "no row is written") || !strings.Contains(f.Text, "the owner of its schema, role") {
				t.Errorf("a schema of another role: %+v", f)
			}
			w.db.Exec(t, "ALTER SCHEMA public OWNER TO pg_database_owner")
			for _, table := range []string{"part", "middle", "thing"} { // from the last one up
				w.db.Exec(t, "ALTER TABLE public."+table+" OWNER TO "+owner)
				report := w.doctor(0, nil, "--probe")
				if f := w.finds(report, "probe.write", doctor.OK); !strings.Contains(f.Text, "no row is written") || !strings.Contains(f.Text, owner) {
					t.Errorf("%s: %+v", table, f)
				}
				w.finds(report, "probe.log", doctor.OK)
				if f := w.finds(report, "probe.search", doctor.OK); !strings.Contains(f.Text, "no row is searched for: role") {
					t.Errorf("%s, as a superuser: %+v", table, f)
				}
				if f := w.finds(w.doctor(3, nil, "--probe", "--probe-key", "1"), "probe.write", doctor.Fail); !strings.Contains(f.Fix, "as the owner of both, the table and its schema") || !strings.Contains(f.Text, "would run whatever triggers and functions the owner, role") {
					t.Errorf("%s: %+v", table, f)
				}
			}
			// Neither is it the role's own because a setting makes it so.
			w.db.Exec(t, "ALTER DATABASE "+w.db.Name+" SET role = "+owner)
			w.doctor(3, nil, "--probe", "--probe-key", "1")
			w.db.Exec(t, "ALTER DATABASE "+w.db.Name+" RESET role")
			if now := versions(); now != before {
				t.Errorf("a row was written: %s, it was %s", now, before)
			}
		})
	}
}

// TestAProbeRunsNothingOfTheTablesOwner as any other role, whatever it is.
func TestAProbeRunsNothingOfTheTablesOwner(t *testing.T) {
	w := newCheckup(t, 0)
	w.env = append(w.env, "WAL2VEC_SOURCE_TABLE=public.thing", "WAL2VEC_SOURCE_KEY=id", "WAL2VEC_SOURCE_TEMPLATE={name}", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	owner, _ := w.db.Role(t, "")
	w.db.Exec(t, `CREATE TABLE public.thing (id bigint PRIMARY KEY, name text, deleted boolean, more text); INSERT INTO public.thing VALUES (1, 'one', false, 'x');
		CREATE SEQUENCE public.ran; GRANT ALL ON SEQUENCE public.ran TO PUBLIC; SELECT nextval('public.ran');
		CREATE FUNCTION public.notes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.ran''); RETURN new; END';
		CREATE FUNCTION public.noting(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM nextval(''public.ran''); RETURN $1; END';
		CREATE FUNCTION public.likes(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM nextval(''public.ran''); RETURN true; END';
		CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = public.likes);
		CREATE FUNCTION public.counts() RETURNS tsquery LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.ran''); RETURN ''a''; END';
		CREATE FUNCTION public.noted(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.ran''); RETURN true; END';
		CREATE DOMAIN public.noting AS text CHECK (public.noted(value))`)
	w.run("init")
	w.start(nil, "stream").waitFor("streaming")
	w.run("backfill")
	w.db.Exec(t, "ALTER TABLE public.thing OWNER TO "+owner)
	ran := func() int { return pgtest.One[int](t, w.db, "SELECT last_value::int - 1 FROM public.ran") }
	for code, back := range map[string]string{
		"CREATE TRIGGER notes BEFORE UPDATE ON public.thing FOR EACH ROW EXECUTE FUNCTION public.notes()":                                               "DROP TRIGGER notes ON public.thing",
		"ALTER TABLE public.thing ADD CONSTRAINT odd CHECK (public.noting(more) = more)":                                                                "ALTER TABLE public.thing DROP CONSTRAINT odd",
		"ALTER TABLE public.thing ADD CONSTRAINT odd CHECK (more OPERATOR(public.===) 'x')":                                                             "ALTER TABLE public.thing DROP CONSTRAINT odd",
		"CREATE INDEX odd ON public.thing (public.noting(more))":                                                                                        "DROP INDEX public.odd",
		"CREATE INDEX odd ON public.thing (id) WHERE public.noting(more) = 'x'":                                                                         "DROP INDEX public.odd",
		"CREATE RULE odd AS ON UPDATE TO public.thing DO ALSO SELECT nextval('public.ran')":                                                             "DROP RULE odd ON public.thing",
		"ALTER TABLE public.thing ADD CONSTRAINT odd CHECK (ts_rewrite('a'::tsquery, 'SELECT public.counts(), public.counts()') IS NOT NULL) NOT VALID": "ALTER TABLE public.thing DROP CONSTRAINT odd",
		"ALTER TABLE public.thing ADD CONSTRAINT odd CHECK (query_to_xml('SELECT public.counts()', true, false, '') IS NOT NULL) NOT VALID":             "ALTER TABLE public.thing DROP CONSTRAINT odd",
		"ALTER TABLE public.thing ADD CONSTRAINT odd CHECK (id::text::public.noting IS NOT NULL) NOT VALID":                                             "ALTER TABLE public.thing DROP CONSTRAINT odd",
		`CREATE TRIGGER odd BEFORE UPDATE ON public.thing FOR EACH ROW WHEN (ts_rewrite('a'::tsquery, 'SELECT public.counts(), public.counts()') IS NOT NULL)
			EXECUTE FUNCTION suppress_redundant_updates_trigger()`: "DROP TRIGGER odd ON public.thing",
	} {
		w.db.Exec(t, code)
		w.db.Exec(t, "SELECT setval('public.ran', 1)")
		f := w.finds(w.doctor(3, nil, "--probe", "--probe-key", "1"), "probe.write", doctor.Fail)
		if !strings.Contains(f.Text, "with the rights of role") || !strings.Contains(f.Fix, "as the owner of both, the table and its schema") {
			t.Errorf("%s: %+v", code, f)
		}
		if n := ran(); n != 0 {
			t.Errorf("%s: the owner's code ran %d times", code, n)
		}
		w.db.Exec(t, back)
	}
	// Of its own table, with what is built in, the row is sent.
	w.db.Exec(t, "ALTER TABLE public.thing OWNER TO CURRENT_USER")
	w.db.Exec(t, "ALTER TABLE public.thing ADD CONSTRAINT plain CHECK (lower(more) <> '' AND CASE WHEN id > 0 THEN coalesce(more, '-') = 'x' ELSE more IN ('a'::varchar, 'b') END); CREATE INDEX plain ON public.thing (upper(more))")
	w.finds(w.doctor(0, nil, "--probe", "--probe-key", "1"), "probe.search", doctor.OK)
	w.db.Exec(t, "CREATE TRIGGER notes BEFORE UPDATE ON public.thing FOR EACH ROW EXECUTE FUNCTION public.notes(); SELECT setval('public.ran', 1)")
	w.finds(w.doctor(0, nil, "--probe", "--probe-key", "1"), "probe.search", doctor.OK) // its own code
	if n := ran(); n != 1 {
		t.Errorf("the trigger ran %d times", n)
	}
}
