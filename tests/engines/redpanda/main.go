// Redpanda Connect's open core, with the parts that the recipes of deploy/ use, all but the Kafka client: that one is
// in the distribution, and the tests give events by file instead.
package main

import (
	"context"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() {
	service.RunCLI(context.Background())
}
