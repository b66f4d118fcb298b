package message

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"imserver/internal/store/storetest"
)

// Ensure that Postgres finds repeats by their numbers in a table that has no
// statistics yet, as every day's partition at its begin: by the primary key
// each message would walk the pair's whole day. The plan is kept, so it is the
// one of full tables too.
func TestRepeatsAreFoundByTheirNumbers(t *testing.T) {
	db := storetest.Postgres(t)
	conn, err := db.Append.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `PREPARE append AS `+pgAppend); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `EXPLAIN EXECUTE append (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0)`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "_random_idx on c2c_messages") || strings.Contains(text, "pkey on c2c_messages") || strings.Contains(text, "Seq Scan") {
		t.Errorf("the plan is\n%s", text)
	}
}
