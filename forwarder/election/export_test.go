package election

// Elected returns the replica that is elected for a cluster, "" if none is.
func (t *Table) Elected(k Key) string {
	if e := t.entries[k]; e != nil {
		return e.current.Replica
	}
	return ""
}

// Len is how many clusters the table knows.
func (t *Table) Len() int { return len(t.entries) }
