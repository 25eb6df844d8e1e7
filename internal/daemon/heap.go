package daemon

// heapFloor is how much a program may allocate at least before the next garbage
// collection: with little memory in use there would be one all the time.
const heapFloor = 32 << 20

// newBallast returns memory that counts as in use and is never touched, so it
// takes up addresses and nothing else. It is to be kept alive.
func newBallast() []byte { return make([]byte, heapFloor) }
