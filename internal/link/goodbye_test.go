package link

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestGoodbyesHaveTheirCode checks that the other side's program is told the code of an error,
// before a welcome and after it.
func TestGoodbyesHaveTheirCode(t *testing.T) {
	for _, welcome := range []bool{false, true} {
		t.Run(fmt.Sprint("welcome ", welcome), func(t *testing.T) {
			s := serve(t, Options{}, func(_ context.Context, c *Conn, _ *linkv1.Hello) error {
				if welcome {
					if err := c.Welcome(&linkv1.Welcome{}); err != nil {
						return err
					}
				}
				return fmt.Errorf("wrapped: %w", &MisplacedError{7, fmt.Errorf("of another group")})
			})
			c, _, err := Dial(t.Context(), s.addr, &linkv1.Hello{}, Options{})
			if welcome {
				require.NoError(t, err)
				t.Cleanup(func() { _ = c.Close() })
				_, err = c.Receive()
			}
			var bye *GoodbyeError
			require.ErrorAs(t, err, &bye)
			require.Equal(t, linkv1.GoodbyeCode_GOODBYE_CODE_PLACEMENT, bye.Code)
			require.Equal(t, uint64(7), bye.PlacementVersion)
			require.Equal(t, "wrapped: of another group", bye.Reason)
		})
	}
}

// TestLargestHello checks that every placement has room in a hello.
func TestLargestHello(t *testing.T) {
	got := make(chan *linkv1.Hello, 1)
	s := serve(t, Options{}, func(_ context.Context, c *Conn, h *linkv1.Hello) error {
		got <- h
		return c.Welcome(&linkv1.Welcome{})
	})
	hello := &linkv1.Hello{
		Role: linkv1.Role_ROLE_RECEIVER, Instance: strings.Repeat("i", maxInstance), LogId: make([]byte, 16),
		Placement: []byte(strings.Repeat("p", segment.MaxPlacement)), Group: strings.Repeat("g", segment.MaxGroup),
	}
	c, _, err := Dial(t.Context(), s.addr, hello, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.Len(t, (<-got).GetPlacement(), segment.MaxPlacement)
}
