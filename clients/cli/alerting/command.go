package alerting

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// endTime is how long a command has to end once it was asked to.
const endTime = 5 * time.Second

// Command is run for each alert, by the shell. It gets the alert as JSON on standard
// input, and what matters most in its environment.
type Command struct {
	Text   string
	Output io.Writer // of the command
}

// Deliver runs the command. It has to succeed.
func (c *Command) Deliver(ctx context.Context, a *Alert) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("alert as JSON: %w", err)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.Text)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(text, '\n')), c.Output, c.Output
	cmd.Env = append(os.Environ(),
		"ALERT_NAME="+a.Name, "ALERT_GROUP="+a.Group, "ALERT_STATE="+a.State, "ALERT_PREVIOUS="+a.Previous, "ALERT_VALUE="+a.Value,
	)
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, endTime
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("--exec for alert %s, %s: %w", a.Name, a.State, err)
	}
	return nil
}
