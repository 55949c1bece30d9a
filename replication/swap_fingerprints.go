package replication

// swapFingerprints are those of the functions that this and earlier versions made; see
// source_swap_fingerprint. A swap role may own such functions of several pipelines, which are made
// again one by one after an upgrade. The first is of this version; the others stay.
// deploy/roles.sql has the same list.
var swapFingerprints = []string{
	"e7dde8b38fc1625bfa85171977b05a99a90296d4ede1395614bcacfe2d5351b3", // wal2vec_follow 5
	"78a9667dfe54bccb7e97fa6f801dc1f1613eaa6219c93b82e360880c5a958476", // wal2vec_follow 4
	"c51f0d4f4c30fd912b2961637bda5c3a191b41c6f1949d176af5b2605c71d5da", // wal2vec_follow 4
	"3b7e8161b962d904809720258df213a67d6bf231b45f410eabd5d07e9d1fc45a", // wal2vec_follow 4
	"5a422e106a1bafcbceb35e2d1f055a809da5ba77210b9ed20778c0add09fe2fa", // wal2vec_follow 4
	"11139ed92d8ae41b2415929206be4cfdd0d28af6dc272dcfe5d5e94a72073bee", // wal2vec_follow 4
	"107b496fd36c16f1492f521102a665d0d689d46aa4d9247ffe8596e1e5549be8", // wal2vec_follow 3
	"e5a48ca0475e4d11aa5843f343ba9fe2b485ff9b5a34e55e6e71c743d526b50a", // wal2vec_follow 3
	"c5c33425a0ed48917f45c83842bc7786fe86c023654ab2e0c49bb6cf914f49c2", // wal2vec_follow 2
}
