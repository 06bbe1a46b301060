//go:build unix

package pglocal

// settings are the arguments of postgres. All on the command line: the data
// folder stays as initdb made it, and an old cluster gets new settings.
func (c *Cluster) settings() []string {
	set := [][2]string{
		{"listen_addresses", ""},
		{"port", "5432"}, // names the socket only
		{"unix_socket_directories", c.places.socket},
		{"unix_socket_permissions", "0700"},
		{"timezone", "GMT"}, // built in: a bare machine has no zone files
		{"log_timezone", "GMT"},

		// Durable, without what only replicas need: 1.7 times the writes of the defaults.
		{"wal_level", "minimal"},
		{"max_wal_senders", "0"},
		{"wal_compression", c.walCompression()},
		{"max_logical_replication_workers", "0"},
		{"checkpoint_timeout", "15min"},

		// Untouched shared buffers take no memory.
		{"shared_buffers", "128MB"},
		{"jit", "off"}, // a private tree has no LLVM, and short queries do not want it

		// No data in the log: neither statements nor the key values of DETAIL.
		{"logging_collector", "off"},
		{"log_min_messages", "warning"},
		{"log_min_error_statement", "panic"},
		{"log_error_verbosity", "terse"},
		{"log_checkpoints", "off"},
		{"log_autovacuum_min_duration", "-1"},
	}
	if c.cfg.Throwaway {
		set = append(set, [][2]string{
			{"fsync", "off"}, {"synchronous_commit", "off"}, {"full_page_writes", "off"},
			{"max_connections", "300"}, {"max_wal_size", "256MB"},
		}...)
	} else {
		set = append(set, [][2]string{
			{"fsync", "on"}, {"synchronous_commit", "on"}, {"full_page_writes", "on"},
			{"max_connections", "100"}, {"max_wal_size", "1GB"},
		}...)
	}
	args := []string{"-D", c.places.data}
	for _, s := range set {
		args = append(args, "-c", s[0]+"="+s[1])
	}
	return args
}

// walCompression: lz4 is a build option, which Debian's servers have.
func (c *Cluster) walCompression() string {
	if debianBin.MatchString(c.cfg.BinDir) {
		return "lz4"
	}
	return "on"
}
