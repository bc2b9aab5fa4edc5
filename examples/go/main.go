// Judges two responses, once waiting and once with a callback, and computes the rewards of a group.
//
//	PKG_CONFIG_PATH=PREFIX/lib/pkgconfig go run . MODEL.gguf
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"dicast.example/judge/dicast"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: judge MODEL.gguf")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(model string) error {
	config, err := json.Marshal(map[string]string{"model": model})
	if err != nil {
		return err
	}
	judge, err := dicast.Open(string(config))
	if err != nil {
		return err
	}
	defer judge.Close()

	request := dicast.Request{
		Principle: "I prefer clear, concise and helpful responses over long and detailed ones.",
		Prompt:    "How do I learn Python programming effectively?",
		Responses: []dicast.Response{
			{Name: "short", Text: "Work through the official tutorial, then build one small project a week."},
			{Name: "vague", Text: "It depends. Everyone learns in their own way."},
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	verdict, err := judge.Judge(ctx, request)
	if err != nil {
		return err
	}
	for place, index := range verdict.Ranking {
		score := verdict.Scores[index]
		fmt.Printf("%d. %s: score %.0f, expected %.2f\n", place+1, score.Name, score.Score, score.Expected)
	}

	done := make(chan error, 1)
	_, err = judge.Submit(request, func(verdict *dicast.Verdict, err error) {
		if err == nil {
			fmt.Printf("called back: %s is best\n", verdict.Scores[verdict.Ranking[0]].Name)
		}
		done <- err
	})
	if err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}

	rewards, err := judge.Rewards(ctx, request.Principle, request.Prompt, []string{
		"Work through the official tutorial, then build one small project a week.",
		"It depends. Everyone learns in their own way.",
		"First of all, one should consider that there are many ways to learn, of which each has its own merits.",
	})
	if err != nil {
		return err
	}
	fmt.Printf("rewards of the group: %.2f\n", rewards)
	return nil
}
