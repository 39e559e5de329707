package merge

// Stats is what there is to say about the writer: a queue that stays full means
// that writes come faster than the disk takes them.
type Stats struct {
	QueuedJobs int   // waiting now
	QueueJobs  int   // that may wait
	Commits    int64 // transactions since the process began, without those that failed
	Jobs       int64 // in those transactions; jobs per commit is the size of a batch
}

// Stats returns the numbers of this moment.
func (s *Service) Stats() Stats {
	w := s.writer
	w.mu.RLock()
	defer w.mu.RUnlock()
	return Stats{QueuedJobs: len(w.queue), QueueJobs: w.queueJobs, Commits: w.commits.Load(), Jobs: w.jobs.Load()}
}
