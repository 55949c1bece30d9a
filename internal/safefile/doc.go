// Package safefile keeps the other accounts of a machine out of the files that the program relies
// on and writes.
//
// Check says who could change what a path names: it looks at the owner and mode of the file and of
// every folder and link on the way to it, as sshd does before it reads authorized_keys. Root, the
// account that runs the program, and those that WAL2VEC_TRUST_UIDS names may change it; where
// another account could, the answer is a *Error with the command that repairs it. No other account
// can change what passed, so that the file can be opened by its name afterwards.
//
// Read and Open read regular files alone, without waiting for a pipe; Read within a bound.
//
// Replace writes a file that no link leads elsewhere, whole or not at all.
//
// An access control list of POSIX counts on Linux as the mode does: an account or a group that it
// lets write has to be trusted. The list that a folder gives to what is made in it (its default
// list) adds no one who may write: what this program makes has a mode without the group's write
// permission, which is the most that such a list then gives.
//
// A file system in user space (FUSE) shows the owners that its server likes. On Linux what is on
// one counts as the account's that mounted it.
//
// It does not look at other lists: NFSv4's (of NFS, ZFS and richacl), whose write permission need
// not show in the mode, and those of other systems, macOS among them. It does not look at who may
// read a file, or at what root and the program's own account do.
package safefile
