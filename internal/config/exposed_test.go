package config_test

import (
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
)

func TestSecretsInFlagsAreFound(t *testing.T) {
	f := func(want bool, path, value string) {
		t.Helper()
		flag := config.Flag{Name: "--x", Path: path, Value: value}
		if got := config.Exposed([]config.Flag{flag}); (len(got) == 1) != want || want && got[0] != flag {
			t.Errorf("%s=%s: exposed %v, want %t", path, value, got, want)
		}
	}
	for _, path := range []string{"source.dsn", "sink.dsn"} {
		f(false, path, "")
		f(false, path, "postgres://me@db/shop")
		f(false, path, "postgres://db:5432/shop?sslmode=require&sslkey=/home/me/key")
		f(false, path, "postgres://me:@db/shop?password=&sslpassword=")
		f(false, path, "  host = db   user=me passfile=/home/me/.pgpass  ")
		f(false, path, "host=db password='' sslpassword=")
		f(false, path, "service=shop")
		f(true, path, "postgres://me:s3cret@db/shop")
		f(true, path, "postgresql://me:p@ss/word@db/shop")
		f(true, path, "postgres://me@db/shop?password=s3cret")
		f(true, path, "postgres://me@db/shop?sslmode=require&sslpassword=s3cret")
		f(true, path, "postgres://me@db/shop?%70assword=s3cret")
		f(true, path, "postgres:///?oauth_client_secret=s3cret")
		f(true, path, "host=db user=me password=s3cret")
		f(true, path, "password = 's3cret' host=db")
		f(true, path, "host=db PASSWORD=s3cret")
		f(true, path, "host=db sslkey=/k sslpassword=s3cret")
		f(true, path, "host=db oauth_client_secret=s3cret")
		f(true, path, "s3cret")
		f(true, path, "host=db password='s3cret")
	}
	f(true, "http.token", "s3cret")
	f(true, "encoder.hub_token", "s3cret")
	f(false, "http.token", "")
	f(false, "http.token_file", "/run/secrets/token")
	f(false, "source.dsn_file", "/run/secrets/dsn")
	f(false, "source.table", "shop.password=product")
	f(false, "no.such", "postgres://me:s3cret@db/shop")

	both := []config.Flag{{Name: "--source", Path: "source.dsn", Value: "postgres://me:s3cret@db"}, {Name: "--source", Path: "source.dsn", Value: "postgres://me@db"}}
	if got := config.Exposed(both); !slices.Equal(got, both[:1]) || both[1].Value != "postgres://me@db" {
		t.Errorf("of a flag that is given twice, exposed are %v", got)
	}
}
