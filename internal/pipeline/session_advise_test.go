package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// TestAFullDiskIsNamedWhileItIsTriedAgain: the line of each try says what a person has to do.
func TestAFullDiskIsNamedWhileItIsTriedAgain(t *testing.T) {
	t.Parallel()
	line := func(err error) string {
		var out bytes.Buffer
		log := zerolog.New(&out)
		log.Warn().Err(err).Func(advise(err)).Msg("trying again")
		return out.String()
	}
	if said := line(fmt.Errorf("committing: %w", &pgconn.PgError{Code: "53100"})); !strings.Contains(said, `"try":"free space on the disk`) {
		t.Errorf("a full disk: %s", said)
	}
	if said := line(errors.New("reset")); strings.Contains(said, "try\"") {
		t.Errorf("what passes by itself: %s", said)
	}
}
