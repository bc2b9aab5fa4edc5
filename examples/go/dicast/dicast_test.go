package dicast

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	concise  = "I prefer short and concise responses over long and detailed ones."
	question = "How do I learn Python?"
	short    = "Build small projects."
)

const long = "There are many things that one should consider before one begins. First of all, a course gives an order to what " +
	"is to be learned. Then there are books, of which some are good and some are not, and after that come projects."

func open(t *testing.T, more string) *Judge {
	t.Helper()
	judge, err := Open(`{"model": "../../../demo/dicast-demo.gguf", "local": {"threads": 1}` + more + `}`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(judge.Close)
	return judge
}

func request() Request {
	return Request{concise, question, []Response{{"long", long}, {"short", short}}, ""}
}

func fails(t *testing.T, err error, code Code) {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != code || failure.Message == "" {
		t.Fatalf("%v is not %v", err, code)
	}
}

func TestManyGoroutines(t *testing.T) {
	judge := open(t, "")
	var group sync.WaitGroup
	for i := 0; i < 32; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			verdict, err := judge.Judge(context.Background(), request())
			if err != nil {
				t.Error(err)
				return
			}
			best := verdict.Scores[verdict.Ranking[0]]
			if best.Name != "short" || best.Rank != 0 || best.Expected < verdict.Scores[0].Expected || verdict.Raw == "" {
				t.Errorf("%+v", verdict)
			}
		}()
	}
	group.Wait()
}

func TestCallbacks(t *testing.T) {
	judge := open(t, "")
	done := make(chan error, 64)
	for i := 0; i < 64; i++ {
		if _, err := judge.Submit(request(), func(_ *Verdict, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < 64; i++ {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestCancel(t *testing.T) {
	judge := open(t, `, "limits": {"max_queue": 1}`)
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	// Either may be first, but nothing hangs, and the place in the queue is free again soon.
	if _, err := judge.Judge(ctx, request()); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for {
		_, err := judge.Judge(context.Background(), request())
		if err == nil {
			break
		}
		fails(t, err, Overloaded)
	}
}

func TestRewards(t *testing.T) {
	judge := open(t, "")
	rewards, err := judge.Rewards(context.Background(), concise, question, []string{long, short})
	if err != nil || len(rewards) != 2 || rewards[0] < 0 || rewards[1] > 1 || rewards[0] >= rewards[1] {
		t.Fatal(rewards, err)
	}
	_, err = judge.Rewards(context.Background(), concise, question, []string{"\xff"})
	fails(t, err, InvalidRequest)
}

func TestFailures(t *testing.T) {
	_, err := Open(`{"colour": 1}`)
	fails(t, err, InvalidConfig)
	judge := open(t, `, "options": {"guided": false, "max_verdict_tokens": 4}`)
	_, err = judge.Judge(context.Background(), request())
	fails(t, err, InvalidVerdict)
	var failure *Error
	if errors.As(err, &failure); failure.Retryable || !strings.Contains(failure.JSON, `"partial"`) {
		t.Fatalf("%+v", failure)
	}
	wrong := request()
	wrong.Options = `{"colour": 1}`
	_, err = judge.Judge(context.Background(), wrong)
	fails(t, err, InvalidRequest)

}

func TestClose(t *testing.T) {
	// Under what is pending: every outcome comes.
	judge := open(t, "")
	done := make(chan error, 16)
	for i := 0; i < cap(done); i++ {
		if _, err := judge.Submit(request(), func(_ *Verdict, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
	}
	judge.Close()
	for i := 0; i < cap(done); i++ {
		if err := <-done; err != nil {
			fails(t, err, Closed)
		}
	}
	judge.Close()
	_, err := judge.Judge(context.Background(), request())
	fails(t, err, Closed)
	_, err = judge.Rewards(context.Background(), concise, question, []string{short})
	fails(t, err, Closed)

	// In a callback.
	judge = open(t, "")
	_, err = judge.Submit(request(), func(_ *Verdict, err error) {
		judge.Close()
		done <- err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
