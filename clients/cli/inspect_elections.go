package cli

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// elections are what the frames of a segment said last, by tenant and cluster.
type elections map[[2]string]segment.Election

func (es *elections) add(said []segment.Election) {
	if *es == nil && len(said) > 0 {
		*es = elections{}
	}
	for i := range said {
		(*es)[[2]string{said[i].Tenant, said[i].Cluster}] = said[i]
	}
}

// list says for people who is elected at the end of the segment, if anybody is. The errors
// of w are those of its Flush.
func (es elections) list(w *bufio.Writer) {
	if len(es) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "\n%-20s %-20s %-20s %6s %-24s %-24s %s\n", "TENANT", "CLUSTER", "ELECTED", "TERM", "CLAIMED", "HEARD", "BY LOG")
	byName := func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }
	for _, key := range slices.SortedFunc(maps.Keys(es), byName) {
		e := es[key]
		_, _ = fmt.Fprintf(w, "%-20q %-20q %-20q %6d %-24s %-24s %s\n", e.Tenant, e.Cluster, e.Replica, e.Term, date(e.ClaimTime), date(e.HeardTime), e.LogID)
	}
}

// electionObject is an election in the object of its frame.
type electionObject struct {
	Tenant    string `json:"tenant"`
	Cluster   string `json:"cluster"`
	Replica   string `json:"replica"`
	Term      uint64 `json:"term"`
	ClaimTime string `json:"claim_time"`
	LogID     string `json:"log_id"`
	HeardTime string `json:"heard_time"`
}

// writeElections adds the elections of a frame, if it has any, to its object.
func writeElections(w *bufio.Writer, said []segment.Election) error {
	if len(said) == 0 {
		return nil
	}
	objects := make([]electionObject, len(said))
	for i := range said {
		e := &said[i]
		objects[i] = electionObject{e.Tenant, e.Cluster, e.Replica, e.Term, date(e.ClaimTime), e.LogID.String(), date(e.HeardTime)}
	}
	list, err := json.Marshal(objects)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `,"elections":%s`, list)
	return err
}
