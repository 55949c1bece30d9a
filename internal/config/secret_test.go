package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

func TestDSNsHideTheirPasswords(t *testing.T) {
	f := func(dsn config.DSN, want string) {
		t.Helper()
		if got := dsn.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("", "")
	f("postgres://u@h/d", "postgres://u@h/d")
	f("postgres://u:p@h:1/d?sslmode=require", "postgres://u:*****@h:1/d?sslmode=require")
	f("postgresql://u:p@ss/w?rd@h/d", "postgresql://*****")
	f("postgresql://u:p@ss/wrd@h/d", "postgresql://u:*****@h/d")
	f("postgres://u:p@s@h/d?application_name=a", "postgres://u:*****@h/d?application_name=a")
	f("postgres://h/d?pwd=p&passfile=/f&search_path=s&rd", "postgres://h/d?pwd=*****&passfile=/f&search_path=s&*****")
	f("postgres://h/d?application_name=a@b", "postgres://h/d?application_name=a@b")
	f("jdbc:postgresql://h/x?user=u&password=p", "*****")
	f("host=h passwort=p pass=p pwd=p kode=p wal2vec.pooler=session", "host=h passwort=***** pass=***** pwd=***** kode=***** wal2vec.pooler=session")
	f("postgres://h/d?user=u&password=p&application_name=x", "postgres://h/d?user=u&password=*****&application_name=x")
	f("postgres://h/d?pass%77ord=p", "postgres://h/d?pass%77ord=*****")
	f("postgres://h/d?%zz=p", "postgres://h/d?%zz=*****")
	f("postgres://h:5432/d?password=p@ss", "postgres://*****")
	f("host=h password=p dbname=d", "host=h password=***** dbname=d")
	f(`host=h PassWord = 'a b\' c' dbname='my db'`, `host=h PassWord=***** dbname='my db'`)
	f("password='unterminated", "*****")
	f("hunter2", "*****")
	f("host=h sslpassword=s", "host=h sslpassword=*****")
}

func TestPasswordsAreScrubbedOutOfAnyText(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := config.Scrub(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("", "")
	f("nothing: a secret handshake, no password", "nothing: a secret handshake, no password")
	f(`unknown command "postgres://u:p@ss@h/d" for "wal2vec"`, `unknown command "postgres://u:*****@h/d" for "wal2vec"`)
	f(`table = "postgresql://:p@h" (flag)`, `table = "postgresql://:*****@h" (flag)`)
	f("postgres://u@h/d?sslpassword=p&x=y", "postgres://u@h/d?sslpassword=*****&x=y")
	f("host=h PassWord = 'a b\\'c' dbname=d", "host=h PassWord = ***** dbname=d")
	f(`"host=h password=p"`, `"host=h password=*****"`)
	f("password='unterminated", "password=*****")
	f("host=h passwort=p pwd='p q' pass=p passfile=/f bypass=n", "host=h passwort=***** pwd=***** pass=***** passfile=/f bypass=n")
	f("fetching https://hf_short@hub.example/x: no", "fetching https://*****@hub.example/x: no")
	// What is quoted once more, as in a message of what was typed.
	for _, dsn := range []string{
		`postgres://u:hun ter2@h/d`, `postgres://u:hun"ter2@h/d`, `https://u:hun\ter2@h/d?x=y`, `postgres://u:hun' ter2@h`, `host=h password='hun\' ter2' dbname=d`,
		`host=h password=hun\ ter2`, `password=hun&ter2`, `password = 'hun"ter2'`, `postgres://h/d?pass%77ord=hunter2`, `https://h/x?a=b&access_token=hunter2&c=d`,
		`https://h/x?apikey=hunter2`, `https://h?X-Amz-Signature=hunter2`, `password='hunter2\\' sslpassword='hunter2'`,
	} {
		for _, text := range []string{fmt.Sprintf("unknown command %q for x", dsn), fmt.Sprintf("table = %q (flag --table): must be a name", dsn)} {
			if got := config.Scrub(text); strings.Contains(got, "hun") || strings.Contains(got, "ter2") {
				t.Errorf("%s: %s", text, got)
			}
		}
	}
	f("models pull hf_"+strings.Repeat("aB3", 11)+"x", "models pull *****")
	f("hf_of_a_role, --set http.token_file=FILE, sslkey=/k", "hf_of_a_role, --set http.token_file=FILE, sslkey=/k")
	f(`"https://hub.example:8443/x" and "a@b"`, `"https://hub.example:8443/x" and "a@b"`)
}

func TestSecretsAreNotFormatted(t *testing.T) {
	v := struct {
		D config.DSN    `json:"d"`
		S config.Secret `json:"s"`
	}{"postgres://u:hunter2@h/d", "hunter2"}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	all := string(out) + fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v) + fmt.Sprint(v.D, v.S)
	if strings.Contains(all, "hunter2") {
		t.Error(all)
	}
	if v.D.Reveal() != "postgres://u:hunter2@h/d" || v.S.Reveal() != "hunter2" || config.Secret("").String() != "" {
		t.Errorf("Reveal tells %q and %q; no secret is %q", v.D.Reveal(), v.S.Reveal(), config.Secret("").String())
	}
}

// Whatever pgx reads as the password never shows.
func TestNoPasswordThatPgxFindsShows(t *testing.T) {
	t.Setenv("PGPASSWORD", "")
	rapid.Check(t, func(t *rapid.T) {
		password := "S3" + rapid.StringMatching(`[a-z@/?&=+%:' \\#]{0,6}`).Draw(t, "password") + "cret"
		form := rapid.SampledFrom([]string{
			"postgres://u:%s@h/d", "postgres://h/d?password=%s", "password=%s host=h", "host=h password='%s'", "postgres://u:%s@h/d?sslpassword=x",
		}).Draw(t, "form")
		dsn := fmt.Sprintf(form, password)
		parsed, err := pgx.ParseConfig(dsn)
		if err != nil || len(parsed.Password) < 3 {
			return
		}
		masked := config.DSN(dsn).String()
		if strings.Contains(masked, parsed.Password) {
			t.Fatalf("%s became %s", dsn, masked)
		}
	})
}

// TestASlipInAPasswordAsksNoNameServer: what stands behind the first @ would be the host.
func TestASlipInAPasswordAsksNoNameServer(t *testing.T) {
	f := func(dsn string, good bool) {
		t.Helper()
		_, err := config.Load(config.Sources{Env: map[string]string{"WAL2VEC_SOURCE_DSN": dsn}})
		switch {
		case good && err != nil:
			t.Errorf("%s: %v", dsn, err)
		case !good && (err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), `source.dsn = "*****"`) || strings.Contains(err.Error(), "GEHEIM")):
			t.Errorf("%s: %v", dsn, err)
		}
	}
	for _, dsn := range []string{
		"postgres://u:a@GEHEIM@db/x", "postgres://u:a@GEHEIM/b@db/x", "postgres://u:1/GEHEIM@db/x", "postgres://u:a@GE HEIM", "postgres://u:p@h:GEHEIM:5432/d",
		"postgres://u:p@h,GEHEIM@b/d", "postgres://u:p@[::1]:1:2/GEHEIM", "host=h@GEHEIM", "host=GEHEIM:x", "host='GEHEIM x'", "jdbc:postgresql://h/x?user=u&password=GEHEIM",
		"a/b=GEHEIM",
	} {
		f(dsn, false)
	}
	for _, dsn := range []string{
		"", "postgres://u:a%40b@db/x", "postgres://u:p?q@db/x", "postgres://h/d?user=me@tenant", "postgres://u:p@[::1]:5432,h:1/d", "postgres://u:p@%2Ftmp/d", "postgres://h",
		"host=::1", "host=/tmp,h port=1,2", "host=@abstract", "host=fe80::1%eth0", "postgresql:///d?host=/tmp", "postgres://u@:5432/d",
	} {
		f(dsn, true)
	}
}

func TestAHubsUserIsMasked(t *testing.T) {
	for _, hub := range []string{"https://hf_GEHEIM@hub.example", "hf_GEHEIM@hub.example", "https://u:GEHEIM@x@hub.example"} {
		c, err := config.Load(config.Sources{Env: map[string]string{"WAL2VEC_ENCODER_HUB": hub}})
		var printed strings.Builder
		if failed := c.Print(&printed); failed != nil {
			t.Fatal(failed)
		}
		if err == nil || strings.Contains(err.Error()+printed.String()+c.Value("encoder.hub"), "GEHEIM") || !strings.Contains(err.Error(), "*****@hub.example") {
			t.Errorf("%s: %v", hub, err)
		}
	}
}
