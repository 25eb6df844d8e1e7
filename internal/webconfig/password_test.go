package webconfig

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/internal/limit"
)

func hashOf(t testing.TB, password string, cost int) config.Secret {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	require.NoError(t, err)
	return config.Secret(hash)
}

func TestPasswords(t *testing.T) {
	of := newUsers(map[string]config.Secret{"me": hashOf(t, "secret", bcrypt.MinCost), "you": hashOf(t, "other", bcrypt.MinCost)})
	p := newPasswords()
	for range 2 {
		require.NoError(t, p.check("peer", of, "me", "secret"))
		require.NoError(t, p.check("peer", of, "you", "other"))
		for _, wrong := range [][2]string{{"me", "other"}, {"me", ""}, {"", ""}, {"they", "secret"}, {"you", "secret"}} {
			require.ErrorIs(t, p.check("peer", of, wrong[0], wrong[1]), errWrong, wrong)
		}
	}
	require.Len(t, p.right, 2)
	for _, key := range p.right {
		require.NotContains(t, key, "secret")
	}
	changed := newUsers(map[string]config.Secret{"me": hashOf(t, "another", bcrypt.MinCost)})
	require.ErrorIs(t, p.check("peer", changed, "me", "secret"), errWrong, "it was right")
	require.NoError(t, p.check("peer", changed, "me", "another"))
	require.ErrorIs(t, p.check("peer", changed, "you", "other"), errWrong, "who was a user")
	require.Zero(t, p.checks.Used())
	require.Zero(t, p.turns.Used())
	require.Empty(t, p.shared)
}

// A name that does not exist costs what some user's costs, the same one each time: from
// the time that an answer takes nobody learns which names there are.
func TestUnknownUsersLookLikeUsers(t *testing.T) {
	cheap, dear := hashOf(t, "a", bcrypt.MinCost), hashOf(t, "b", bcrypt.MinCost+1)
	of := newUsers(map[string]config.Secret{"cheap": cheap, "dear": dear})
	p := newPasswords()
	seen := map[config.Secret]int{}
	for i := range 100 {
		name := fmt.Sprint("name-", i)
		hash, known := of.hash(p.seed, name)
		require.False(t, known)
		again, _ := of.hash(p.seed, name)
		require.Equal(t, hash, again)
		seen[hash]++
	}
	require.Len(t, seen, 2)
	// The password of that user is not that of the name.
	for i := range 10 {
		for _, password := range []string{"a", "b"} {
			require.ErrorIs(t, p.check("peer", of, fmt.Sprint("name-", i), password), errWrong)
		}
	}
}

// Strangers get so many checks and no more; those of one peer leave room for another's.
func TestPasswordChecksAreBounded(t *testing.T) {
	const most, share = 4, 2
	of := newUsers(map[string]config.Secret{"me": hashOf(t, "secret", bcrypt.MinCost)})
	p := newPasswords()
	p.limit(most, share)
	turn := p.turns.Hold("somebody") // has the turn, so that all others wait
	require.NoError(t, turn.Resize(1))
	var wg sync.WaitGroup
	start := func(peer, password string, want error) {
		wg.Go(func() { require.ErrorIs(t, p.check(peer, of, "me", password), want) })
	}
	waiting := func(n int) {
		require.Eventually(t, func() bool { return p.turns.Waiting() == n }, 30*time.Second, time.Millisecond)
	}
	for i := range share {
		start("stranger", fmt.Sprint("guess-", i), errWrong)
		waiting(i + 1)
	}
	var over *limit.Error
	require.ErrorAs(t, p.check("stranger", of, "me", "one more"), &over)
	require.Equal(t, limit.Name(FlagPasswordChecks), over.Name)
	require.True(t, over.Passing)
	start("friend", "secret", nil)
	waiting(share + 1)
	for range 10 * most { // A sender's many connections share one check.
		start("friend", "secret", nil)
	}
	start("stranger", "guess-0", errWrong)
	start("third", "a guess", errWrong)
	waiting(most)
	require.ErrorAs(t, p.check("fourth", of, "me", "guess"), &over)
	turn.Release()
	wg.Wait()
	require.NoError(t, p.check("fourth", of, "me", "secret"))
}
