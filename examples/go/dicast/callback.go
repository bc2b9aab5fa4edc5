package dicast

// #include <dicast.h>
import "C"

import "runtime/cgo"

// dicastDeliver hands an outcome to the callback that Submit was given. It has a file of its own since cgo allows nothing
// but declarations above exported functions.
//
//export dicastDeliver
func dicastDeliver(handle C.uintptr_t, status C.int32_t, verdict *C.dicast_verdict, failure *C.dicast_error) {
	kept := cgo.Handle(handle)
	done := kept.Value().(func(*Verdict, error))
	kept.Delete()
	if status != C.DICAST_OK {
		done(nil, failed(failure))
		return
	}
	defer C.dicast_verdict_free(verdict)
	done(fromC(verdict), nil)
}
