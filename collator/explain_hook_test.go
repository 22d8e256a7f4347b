package collator_test

import (
	"encoding/json"

	"relay/collator"
	"relay/collator/explain"
)

func init() {
	collator.ExplainJSON = func(c *collator.Collator, subject string) []byte {
		text, err := json.Marshal(explain.Explain(c, subject))
		if err != nil {
			panic(err)
		}
		return text
	}
}
