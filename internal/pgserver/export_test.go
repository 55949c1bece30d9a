package pgserver

// Pid returns the postmaster's process id, or 0 while the server is halted.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid
}
