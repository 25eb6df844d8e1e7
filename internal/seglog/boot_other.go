//go:build !linux

package seglog

func (osFS) Boot() bootID { return bootID{} }
