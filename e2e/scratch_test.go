package e2e
import ("testing";"time";"math/rand/v2";"syscall";"fmt";"github.com/promgrpc/exporter/e2e/harness")
func TestScratchChaos(t *testing.T) {
	cluster := harness.NewCluster(t, harness.Options{Forwarder: []string{"--storage.segment.duration=1s"}})
	var senders []*harness.Sender
	for i := range 4 {
		s := harness.NewSender(t, cluster.WriteURL(), fmt.Sprintf("chaos%d", i), 10)
		s.Start(10*time.Millisecond)
		senders = append(senders, s)
	}
	var followers []*harness.Follower
	for _, p := range protocols { followers = append(followers, harness.Follow(t, cluster.RPCs(), p, "--since=1h", `{job=~"chaos.*"}`)) }
	n := 0
	for end := time.Now().Add(40*time.Second); time.Now().Before(end); n++ {
		time.Sleep(time.Duration(50+rand.IntN(250))*time.Millisecond)
		ps := cluster.Processes()
		p := ps[rand.IntN(len(ps))]
		switch rand.IntN(4) {
		case 0, 1: p.Kill()
			if rand.IntN(3) == 0 { q := ps[rand.IntN(len(ps))]; if q != p { q.Kill(); q.Restart() } }
			p.Restart(); p.Listening("web")
		case 2: p.Terminate(20*time.Second); p.Restart(); p.Listening("web")
		case 3: p.Signal(syscall.SIGSTOP); time.Sleep(time.Duration(rand.IntN(1500))*time.Millisecond); p.Signal(syscall.SIGCONT)
		}
	}
	time.Sleep(300*time.Millisecond)
	want := harness.Points{}
	retries := 0
	for _, s := range senders { s.Stop(); for p, n := range s.Acknowledged() { want[p] += n }; retries += s.Retries() }
	t.Log(n, "faults", len(want), "samples", retries, "retries")
	awaitPoints(t, cluster, `{job=~"chaos.*"}`, want)
	for i, f := range followers {
		for d := time.Now().Add(30*time.Second); time.Now().Before(d) && f.Points().Missing(want) > 0; { time.Sleep(50*time.Millisecond) }
		harness.Equal(t, "follower "+protocols[i], want, f.Points()) }
	t.Log(cluster.CompareFiles(), "segments")
}
