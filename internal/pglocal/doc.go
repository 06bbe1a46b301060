// Package pglocal runs a private PostgreSQL cluster for one program: the
// database of the embedded default (no DATABASE_URL set) and of the tests.
//
// It starts the postgres program itself, on a unix socket only, in a folder of
// its own, and stops it when told to or when this process dies, however it
// dies (on Linux by the parent-death signal; elsewhere the next Start stops
// what was left). It prepares one database, [Database], and three roles:
//
//   - [Superuser] is the bootstrap superuser. It creates extensions (vector is
//     not a trusted one) and is for this package and tests alone.
//   - [Owner] owns the database and its schema and runs the migrations.
//   - [App] is the server's role at run time. It owns nothing, and has no right
//     on any table until a migration grants one.
//
// There are no passwords. Authentication is "trust" on a socket that lies in a
// folder of mode 0700: only the account that runs postgres, and root, can
// open it, and both could read the data files anyway. The cluster never
// listens on the network, so roles here guard against mistakes and injected
// SQL, not against other accounts; a server others can reach wants
// DATABASE_URL and passwords.
//
// It never runs postgres as root: root drops to the owner of the folder, or to
// the system account "postgres". On Linux folders are handed to postgres as
// open file descriptors, so that it can work below a home it may not enter and
// no path is too long for a socket.
//
// A folder has one cluster at a time (flock); a second Start fails with
// [ErrInUse] at once. All methods of [Cluster] may be called from any
// goroutine. Errors are plain, for operators; those a person can act on say
// what to do. They hold no SQL and no data.
package pglocal
