// The conformance runner: plays the scenarios of sdk/conformance, which says what they mean.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

// scenario is one file.
type scenario struct {
	Name  string           `json:"name"`
	About string           `json:"about"`
	Types map[string]any   `json:"types"`
	Steps []map[string]any `json:"steps"`
}

// result is one line of the output.
type result struct {
	Scenario string `json:"scenario"`
	OK       bool   `json:"ok"`
	Step     *int   `json:"step,omitempty"`
	Message  string `json:"message,omitempty"`
}

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	isWell := true
	for _, path := range os.Args[1:] {
		ended := playFile(path)
		line, err := json.Marshal(ended)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
		isWell = isWell && ended.OK
	}
	if !isWell {
		os.Exit(1)
	}
}

func playFile(path string) result {
	data, err := os.ReadFile(path)
	if err != nil {
		return result{Scenario: path, Message: err.Error()}
	}
	var story scenario
	reader := json.NewDecoder(bytes.NewReader(data))
	reader.DisallowUnknownFields()
	if err := reader.Decode(&story); err != nil {
		return result{Scenario: path, Message: err.Error()}
	}
	number, err := play(story)
	if err != nil {
		return result{Scenario: story.Name, Step: &number, Message: err.Error()}
	}
	return result{Scenario: story.Name, OK: true}
}

// play gives the number of the step that failed with its error.
func play(story scenario) (number int, err error) {
	player, err := newPlayer()
	if err != nil {
		return 0, err
	}
	defer func() {
		if closing := player.close(); err == nil {
			err = closing
		}
	}()
	saved := map[string]any{}
	for key, given := range story.Types {
		saved[key] = fmt.Sprintf("%s_%s", key, randomHex())
		if err := player.createType(saved[key].(string), given); err != nil {
			return 0, err
		}
	}
	for number, step := range story.Steps {
		filled, err := fill(step, saved)
		if err != nil {
			return number, err
		}
		answer, err := timed(player, filled.(map[string]any))
		if err != nil {
			return number, err
		}
		if name, ok := step["save"].(string); ok {
			saved[name] = answer
		}
	}
	return len(story.Steps), nil
}

// timed does a step within its limits of time.
func timed(player *player, step map[string]any) (any, error) {
	began := time.Now()
	answer, err := do(player, step)
	took := float64(time.Since(began).Milliseconds())
	if err != nil {
		return nil, err
	}
	least, _ := step["at_least_ms"].(float64)
	most, isLimited := step["at_most_ms"].(float64)
	if took < least || isLimited && took > most {
		return nil, fmt.Errorf("it took %v ms", took)
	}
	return answer, nil
}

var judged = []string{"do", "save", "expect", "expect_error", "at_most_ms", "at_least_ms"}

// do does one step whose variables are filled in, and judges what came of it.
func do(player *player, step map[string]any) (any, error) {
	fields := map[string]any{}
	for key, value := range step {
		if !slices.Contains(judged, key) {
			fields[key] = contentIn(value)
		}
	}
	verb, _ := step["do"].(string)
	answer, err := player.do(verb, fields)
	expected, fails := step["expect_error"].(map[string]any)
	switch {
	case err != nil && !fails:
		return nil, err
	case err != nil:
		return nil, checkError(err, expected)
	case fails:
		return nil, fmt.Errorf("it succeeded: %v", answer)
	}
	answer = contentOut(answer)
	conditions, _ := step["expect"].(map[string]any)
	for path, condition := range conditions {
		found := look(answer, path)
		if fits, err := holds(found, condition); err != nil || !fits {
			return nil, fmt.Errorf("%s: %v instead of %v (%v)", path, found, condition, err)
		}
	}
	return answer, nil
}
