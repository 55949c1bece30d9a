package host

import (
	"reflect"
	"testing"

	"github.com/wal2vec/wal2vec/internal/api"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/follow"
)

// TestEverySettingOfHTTPReachesTheServer compares all of them.
func TestEverySettingOfHTTPReachesTheServer(t *testing.T) {
	t.Parallel()
	all := config.HTTP{Listen: "127.0.0.1:1", Token: "t", AllowedHosts: []string{"h"}, MaxConnections: 7}
	want := api.Options{Listen: "127.0.0.1:1", Token: "t", AllowedHosts: []string{"h"}, MaxConnections: 7, Version: "1"}
	p := &served{Follower: &follow.Follower{Options: follow.Options{Config: config.Config{HTTP: all}, Version: "1"}}}
	if got := p.httpOptions(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v is served as %+v", all, got)
	}
}
