package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/config"
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
	f("postgresql://u:p@ss/w?rd@h/d", "postgresql://u:*****@h/d")
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
		t.Error("Reveal must tell")
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
