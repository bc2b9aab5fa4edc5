// Package dicast judges responses by a principle in plain language, through the C interface of Dicast.
//
// It finds the library by pkg-config: set PKG_CONFIG_PATH to PREFIX/lib/pkgconfig where `make install` put it elsewhere
// than the system looks. Everything that is returned is Go's own; only a Judge must be closed. All of it may be used by
// any number of goroutines at once, of which none holds a thread while it waits.
package dicast

/*
#cgo pkg-config: dicast
#include <dicast.h>
#include <stdlib.h>

void dicastDeliver(uintptr_t handle, int32_t status, dicast_verdict *verdict, dicast_error *error);

// A handle is a number: Go must not see it as a pointer.
static inline void dicast_go_deliver(void *data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    dicastDeliver((uintptr_t)data, status, verdict, error);
}

static inline dicast_str dicast_go_str(_GoString_ text) {
    dicast_str str = {_GoStringPtr(text), _GoStringLen(text)};
    return str;
}

static inline int32_t dicast_go_open(_GoString_ config, dicast_judge **judge, dicast_error **error) {
    return dicast_judge_open(dicast_go_str(config), NULL, judge, error);
}

static inline int32_t dicast_go_request(_GoString_ principle, _GoString_ prompt, _GoString_ options,
                                        dicast_request **request, dicast_error **error) {
    int32_t status = dicast_request_new(dicast_go_str(principle), dicast_go_str(prompt), request, error);
    if (status == DICAST_OK) {
        status = dicast_request_set_options(*request, dicast_go_str(options), error);
        if (status != DICAST_OK) {
            dicast_request_free(*request);
        }
    }
    return status;
}

static inline int32_t dicast_go_add(dicast_request *request, _GoString_ name, _GoString_ text, dicast_error **error) {
    return dicast_request_add(request, dicast_go_str(name), dicast_go_str(text), error);
}

static inline int32_t dicast_go_submit(const dicast_judge *judge, const dicast_request *request, uintptr_t handle,
                                       dicast_ticket **ticket, dicast_error **error) {
    return dicast_judge_submit(judge, request, dicast_go_deliver, (void *)handle, ticket, error);
}
*/
import "C"

import (
	"context"
	"math"
	"runtime"
	"runtime/cgo"
	"strconv"
	"sync"
)

// Version is the release of the library that runs, such as "0.1.0".
func Version() string { return text(C.dicast_version()) }

// Code says what went wrong; the codes are those of dicast.h. New ones may appear in any release.
type Code int32

// The codes that programs ask for most.
const (
	InvalidRequest Code = C.DICAST_INVALID_REQUEST
	InvalidConfig  Code = C.DICAST_INVALID_CONFIG
	Overloaded     Code = C.DICAST_OVERLOADED
	Timeout        Code = C.DICAST_TIMEOUT
	Cancelled      Code = C.DICAST_CANCELLED
	InvalidVerdict Code = C.DICAST_INVALID_VERDICT
	Closed         Code = C.DICAST_CLOSED
)

// String is the name of a code, such as "context_overflow".
func (c Code) String() string {
	if name := text(C.dicast_status_name(C.int32_t(c))); name != "" {
		return name
	}
	return "status " + strconv.Itoa(int(c))
}

// Error is what every failure of this package is; get at it with errors.As.
type Error struct {
	Code    Code
	Message string
	// Whether the same request may succeed when it is sent again unchanged.
	Retryable bool
	// The whole error as JSON, with what could be read of an incomplete verdict.
	JSON string
}

// Error implements error.
func (e *Error) Error() string { return "dicast: " + e.Code.String() + ": " + e.Message }

// failed takes over an error of C's.
func failed(failure *C.dicast_error) error {
	defer C.dicast_error_free(failure)
	return &Error{
		Code:      Code(C.dicast_error_code(failure)),
		Message:   text(C.dicast_error_message(failure)),
		Retryable: bool(C.dicast_error_is_retryable(failure)),
		JSON:      text(C.dicast_error_json(failure)),
	}
}

// Request says what is to be judged.
type Request struct {
	// The principle to judge by, in plain language.
	Principle string
	// What the responses respond to.
	Prompt string
	// The responses, in any order; names must be unique.
	Responses []Response
	// Options as JSON, such as `{"temperature": 0.6, "seed": 7}`; may be empty.
	Options string
}

// Response is one response and your name for it, which the judge does not see.
type Response struct {
	Name, Text string
}

// Verdict is complete: every response has a score and a place in the ranking.
type Verdict struct {
	// The scores, in the order of the request.
	Scores []Score
	// Indices into Scores, the best first.
	Ranking []int
	// The judge's reasoning; empty where it did not think.
	Reasoning string
	// The judge's whole output as it came.
	Raw string
}

// Score is what a verdict says of one response.
type Score struct {
	Name string
	// The score as the judge wrote it.
	Score float64
	// The mean of the distribution that it was drawn from, a finer reward; NaN where the engine gave none.
	Expected float64
	// The place in the ranking, 0 the best.
	Rank int
}

// Judge is an opened model with its profile.
type Judge struct {
	// Held for reading by every call, for writing by Close: C must not free what is in use.
	mutex  sync.RWMutex
	handle *C.dicast_judge
}

// Open loads a judge. The configuration is that of the command line, such as `{"model": "judge.gguf"}`.
func Open(config string) (*Judge, error) {
	judge := &Judge{}
	var failure *C.dicast_error
	if C.dicast_go_open(config, &judge.handle, &failure) != C.DICAST_OK {
		return nil, failed(failure)
	}
	return judge, nil
}

// Close unloads the model. Judgments that are pending end with the code Closed, as do later ones. It waits for all callbacks,
// unless it is called in one. Closing twice is fine.
func (j *Judge) Close() {
	j.mutex.RLock()
	C.dicast_judge_close(j.handle, nil)
	j.mutex.RUnlock()
	j.mutex.Lock()
	defer j.mutex.Unlock()
	C.dicast_judge_free(j.handle)
	j.handle = nil
}

// outcome is what a judgment ends with.
type outcome struct {
	verdict *Verdict
	err     error
}

// Judge judges one request and waits for the verdict, until ctx is done: then the judgment is cancelled and the error is
// that of ctx.
func (j *Judge) Judge(ctx context.Context, request Request) (*Verdict, error) {
	done := make(chan outcome, 1)
	ticket, err := j.Submit(request, func(verdict *Verdict, err error) { done <- outcome{verdict, err} })
	if err != nil {
		return nil, err
	}
	select {
	case outcome := <-done:
		return outcome.verdict, outcome.err
	case <-ctx.Done():
		ticket.Cancel()
		return nil, ctx.Err()
	}
}

// Submit returns at once; done gets the verdict or the error, exactly once, maybe before Submit has returned. Where Submit
// fails nothing was submitted, and done is not called. Callbacks of one judge come one at a time: those that have much to
// do start a goroutine.
func (j *Judge) Submit(request Request, done func(*Verdict, error)) (*Ticket, error) {
	made, err := request.toC()
	if err != nil {
		return nil, err
	}
	defer C.dicast_request_free(made)
	handle := cgo.NewHandle(done)
	ticket := &Ticket{}
	var failure *C.dicast_error
	j.mutex.RLock()
	status := j.submit(made, handle, ticket, &failure)
	j.mutex.RUnlock()
	if status != C.DICAST_OK {
		handle.Delete()
		if failure == nil {
			return nil, closed()
		}
		return nil, failed(failure)
	}
	runtime.SetFinalizer(ticket, func(ticket *Ticket) { C.dicast_ticket_free(ticket.handle) })
	return ticket, nil
}

func (j *Judge) submit(request *C.dicast_request, handle cgo.Handle, ticket *Ticket, failure **C.dicast_error) C.int32_t {
	if j.handle == nil {
		return C.DICAST_CLOSED
	}
	return C.dicast_go_submit(j.handle, request, C.uintptr_t(handle), &ticket.handle, failure)
}

func closed() error { return &Error{Code: Closed, Message: "the judge was closed"} }

// Ticket is a judgment that was submitted. It needs no closing, and dropping it changes nothing.
type Ticket struct {
	handle *C.dicast_ticket
}

// Cancel ends the judgment with the code Cancelled, which goes to the callback. Again, or too late, is fine.
func (t *Ticket) Cancel() {
	C.dicast_ticket_cancel(t.handle, nil)
	runtime.KeepAlive(t)
}

// Rewards judges responses to one prompt together and returns their expected scores from 0 (worst) to 1 (best), in their
// order. A failure is an error, never a reward.
func (j *Judge) Rewards(ctx context.Context, principle, prompt string, responses []string) ([]float64, error) {
	request := Request{Principle: principle, Prompt: prompt}
	for i, response := range responses {
		request.Responses = append(request.Responses, Response{Name: strconv.Itoa(i + 1), Text: response})
	}
	low, high, err := j.scale()
	if err != nil {
		return nil, err
	}
	verdict, err := j.Judge(ctx, request)
	if err != nil {
		return nil, err
	}
	rewards := make([]float64, len(responses))
	for i, score := range verdict.Scores {
		if math.IsNaN(score.Expected) {
			return nil, &Error{Code: C.DICAST_UNSUPPORTED, Message: "the engine gives no expected scores"}
		}
		rewards[i] = (score.Expected - low) / (high - low)
	}
	return rewards, nil
}

// scale is the worst and the best score.
func (j *Judge) scale() (low, high float64, err error) {
	j.mutex.RLock()
	defer j.mutex.RUnlock()
	if j.handle == nil {
		return 0, 0, closed()
	}
	info := C.dicast_info{struct_size: C.sizeof_dicast_info}
	var failure *C.dicast_error
	if C.dicast_judge_info(j.handle, &info, &failure) != C.DICAST_OK {
		return 0, 0, failed(failure)
	}
	return float64(info.scale_min), float64(info.scale_max), nil
}

// toC makes a request of C's, to be freed.
func (r Request) toC() (*C.dicast_request, error) {
	var made *C.dicast_request
	var failure *C.dicast_error
	if C.dicast_go_request(r.Principle, r.Prompt, r.Options, &made, &failure) != C.DICAST_OK {
		return nil, failed(failure)
	}
	for _, response := range r.Responses {
		if C.dicast_go_add(made, response.Name, response.Text, &failure) != C.DICAST_OK {
			C.dicast_request_free(made)
			return nil, failed(failure)
		}
	}
	return made, nil
}

// fromC copies a verdict.
func fromC(verdict *C.dicast_verdict) *Verdict {
	count := int(C.dicast_verdict_count(verdict))
	made := &Verdict{
		Scores:    make([]Score, count),
		Ranking:   make([]int, count),
		Reasoning: text(C.dicast_verdict_reasoning(verdict)),
		Raw:       text(C.dicast_verdict_raw(verdict)),
	}
	for i := range made.Scores {
		index := C.size_t(i)
		made.Scores[i] = Score{
			Name:     text(C.dicast_verdict_name(verdict, index)),
			Score:    float64(C.dicast_verdict_score(verdict, index)),
			Expected: float64(C.dicast_verdict_expected(verdict, index)),
			Rank:     int(C.dicast_verdict_rank(verdict, index)),
		}
		made.Ranking[made.Scores[i].Rank] = i
	}
	return made
}

func text(str C.dicast_str) string { return C.GoStringN(str.data, C.int(str.len)) }
