package time

import (
	"syscall"
	"unsafe"
)

// stepped holds by how many seconds the wall clock is off; nil: not at all.
var stepped *int64

// Whoever runs the process writes them to the file.
func init() {
	path, ok := syscall.Getenv("TORTURE_CLOCK")
	if !ok {
		return
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("open " + path + ": " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, int(unsafe.Sizeof(*stepped)), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map " + path + ": " + err.Error())
	}
	stepped = (*int64)(unsafe.Pointer(&page[0]))
}
