package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
)

var variable = regexp.MustCompile(`\$([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)`)

func randomHex() string {
	var data [6]byte
	_, _ = rand.Read(data[:]) // it never fails
	return hex.EncodeToString(data[:])
}

// look gives the field at a path; nil when it is not there.
func look(value any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch one := value.(type) {
		case []any:
			number, err := strconv.Atoi(part)
			switch {
			case part == "#":
				value = float64(len(one))
			case err == nil && number < len(one):
				value = one[number]
			default:
				return nil
			}
		case map[string]any:
			value = one[part]
		default:
			if part == "#" && value == nil {
				return float64(0)
			}
			return nil
		}
	}
	return value
}

// fill replaces the variables in every string, keys too.
func fill(value any, saved map[string]any) (any, error) {
	switch value := value.(type) {
	case string:
		return fillText(value, saved)
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			filled, err := fill(item, saved)
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for key, item := range value {
			name, err := fillText(key, saved)
			if err != nil {
				return nil, err
			}
			if out[name], err = fill(item, saved); err != nil {
				return nil, err
			}
		}
		return out, nil
	default:
		return value, nil
	}
}

func fillText(text string, saved map[string]any) (string, error) {
	var missing error
	filled := variable.ReplaceAllStringFunc(text, func(match string) string {
		name, path, hasPath := strings.Cut(match[1:], ".")
		found := saved[name]
		if hasPath {
			found = look(found, path)
		}
		if found == nil {
			missing = fmt.Errorf("%s is not there", match)
		}
		return fmt.Sprint(found)
	})
	return filled, missing
}

// holds says whether what was found meets a condition.
func holds(found, condition any) (bool, error) {
	object, ok := condition.(map[string]any)
	if !ok {
		return isEqual(found, condition), nil
	}
	choices, hasAny := object["any"].([]any)
	exists, hasExists := object["exists"].(bool)
	switch {
	case hasAny && len(object) == 1:
		return slices.ContainsFunc(choices, func(one any) bool { return isEqual(found, one) }), nil
	case hasExists && len(object) == 1:
		return (found != nil) == exists, nil
	case object["any"] != nil || object["exists"] != nil:
		return false, fmt.Errorf("this is no condition: %v", condition)
	default:
		return isEqual(found, condition), nil
	}
}

// isEqual heeds int64 as strings, and what proto JSON leaves out.
func isEqual(found, wanted any) bool {
	if found == nil {
		switch wanted := wanted.(type) {
		case nil:
			return true
		case []any:
			return len(wanted) == 0
		case map[string]any:
			return len(wanted) == 0
		default:
			return wanted == "" || wanted == false || wanted == float64(0)
		}
	}
	number, isNumber := wanted.(float64)
	text, isText := found.(string)
	if isNumber && isText {
		return text == strconv.FormatFloat(number, 'f', -1, 64)
	}
	return reflect.DeepEqual(found, wanted)
}

// checkError fails unless the error says all that is expected of it.
func checkError(err error, expected map[string]any) error {
	var told *asyncflow.Error
	if !errors.As(err, &told) {
		return fmt.Errorf("it is not an error of the SDK's: %T %w", err, err)
	}
	var fields []any
	for _, violation := range told.Violations {
		fields = append(fields, violation.Field)
	}
	given := map[string]any{
		"code": code.Code_name[int32(told.Code)], "reason": told.Reason,
		"violations": sorted(fields), "retryable": told.Retryable(),
	}
	for key, wanted := range expected {
		found, known := given[key]
		if !known {
			return fmt.Errorf("expect_error: there is no %s", key)
		}
		if list, ok := wanted.([]any); ok {
			wanted = sorted(list)
		}
		if fits, bad := holds(found, wanted); bad != nil || !fits {
			return fmt.Errorf("%s: %v instead of %v: %w", key, found, wanted, err)
		}
	}
	return nil
}

func sorted(list []any) []any {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return out
}

// contentIn makes a Content of every {"json": …}.
func contentIn(value any) any {
	switch value := value.(type) {
	case map[string]any:
		if given, ok := value["json"]; ok && len(value) == 1 {
			return map[string]any{
				"data":         base64.StdEncoding.EncodeToString(mustMarshal(given)),
				"content_type": "application/json",
			}
		}
		out := map[string]any{}
		for key, item := range value {
			out[key] = contentIn(item)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = contentIn(item)
		}
		return out
	default:
		return value
	}
}

// contentOut puts `json` beside the data of every Content that is JSON.
func contentOut(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, item := range value {
			value[key] = contentOut(item)
		}
		text, _ := value["data"].(string)
		data, err := base64.StdEncoding.DecodeString(text)
		var parsed any
		if value["content_type"] == "application/json" && err == nil &&
			json.Unmarshal(data, &parsed) == nil {
			value["json"] = parsed
		}
	case []any:
		for i, item := range value {
			value[i] = contentOut(item)
		}
	}
	return value
}

func mustMarshal(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

// strictly decodes fields into a struct that must know all of them.
func strictly(fields map[string]any, into any) error {
	reader := json.NewDecoder(bytes.NewReader(mustMarshal(fields)))
	reader.DisallowUnknownFields()
	return reader.Decode(into)
}
