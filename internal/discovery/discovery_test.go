package discovery

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	cases := []struct {
		spec string
		want []string
		err  string
	}{
		{"a:1", []string{"a:1"}, ""},
		{"a:1, b.example:65535,[::1]:80", []string{"a:1", "b.example:65535", "[::1]:80"}, ""},
		{"", nil, "an address is empty"},
		{"a:1,", nil, "an address is empty"},
		{"a", nil, "a: want host:port"},
		{":80", nil, "the host is empty"},
		{"a:0", nil, "not a number from 1 to 65535"},
		{"a:http", nil, "not a number from 1 to 65535"},
		{"a:65536", nil, "not a number from 1 to 65535"},
		{"a:1,b:1,a:1", nil, "a:1 is there twice"},
		{"zookeeper://x/y", nil, `unknown scheme "zookeeper"`},
	}
	for _, c := range cases {
		t.Run(c.spec, func(t *testing.T) {
			s, err := Parse(c.spec, Options{})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			var got []string
			ch := s.Watch(ctx)
			for _, i := range <-ch {
				require.Equal(t, i.Address, i.ID)
				got = append(got, i.Address)
			}
			require.Equal(t, c.want, got)
			cancel()
			_, open := <-ch
			require.False(t, open)
		})
	}
}

func TestFeedKeepsTheNewest(t *testing.T) {
	f := newFeed()
	f.send([]Instance{{ID: "old"}})
	f.send([]Instance{{ID: "new"}})
	require.Equal(t, []Instance{{ID: "new"}}, <-f.ch)
	f.send(nil)
	f.close()
	f.close()
	f.send([]Instance{{ID: "late"}})
	set, open := <-f.ch
	require.True(t, open)
	require.Empty(t, set)
	_, open = <-f.ch
	require.False(t, open)
}
