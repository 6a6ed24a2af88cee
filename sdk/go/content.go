package asyncflow

import (
	"encoding/json"
	"fmt"
	"mime"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

const jsonType = "application/json"

// JSON makes a payload, context or result of a value.
//
// Errors: those of [json.Marshal].
func JSON(value any) (*asyncflowpb.Content, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return &asyncflowpb.Content{Data: data, ContentType: jsonType}, nil
}

// MustJSON is JSON for values of which it is known that they can be marshalled; it panics if not.
func MustJSON(value any) *asyncflowpb.Content {
	content, err := JSON(value)
	if err != nil {
		panic(fmt.Sprintf("asyncflow.MustJSON: %v", err))
	}
	return content
}

// Decode reads JSON into what `into` points to. No content at all leaves it as it is.
//
// Errors: the content is of another type, or does not fit.
func Decode(content *asyncflowpb.Content, into any) error {
	if len(content.GetData()) == 0 {
		return nil
	}
	given := content.GetContentType()
	if kind, _, err := mime.ParseMediaType(given); given != "" && (err != nil || kind != jsonType) {
		return fmt.Errorf("the content is %s, not %s", given, jsonType)
	}
	return json.Unmarshal(content.GetData(), into)
}
