/* Included before pgvector 0.8.0, Debian stable's, which was written for PostgreSQL 17 and earlier, where it is compiled for 19: headers that others
   no longer include, and functions that take one argument more. Used by scripts/next.sh where the sources of unstable's cannot be fetched. */
#include "postgres.h"

#include "access/tableam.h"
#include "commands/vacuum.h"
#include "storage/bufpage.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "varatt.h"

#define Item const void *
#define Pointer char *
#define DatumGetPointer(datum) ((char *) (datum))
#define LWLockNewTrancheId() LWLockNewTrancheId("HnswBuild")
#define LWLockRegisterTranche(id, name) ((void) 0)
#define table_beginscan_parallel(relation, scan) table_beginscan_parallel(relation, scan, SO_NONE)
#define vacuum_delay_point() vacuum_delay_point(false)
