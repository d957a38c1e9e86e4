// Command suite lets sarama, franz-go and kafka-go do real work against a broker.
//
// Usage: suite HOST:PORT. Prints "ok NAME" or "FAIL NAME: REASON" per check.
package main

import (
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"time"
)

var server = os.Args[1]

const patience = 30 * time.Second

type check struct {
	name string
	run  func() error
}

func fresh(name string) string {
	return fmt.Sprintf("%s-%08x", name, rand.Uint32())
}

func same[T comparable](what string, expected, actual T) error {
	if expected != actual {
		return fmt.Errorf("%s: expected %v, got %v", what, expected, actual)
	}
	return nil
}

func main() {
	for _, one := range slices.Concat(saramaChecks(), franzChecks(), kafkaGoChecks()) {
		if err := one.run(); err != nil {
			fmt.Println("FAIL " + one.name + ": " + strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok " + one.name)
		}
	}
	fmt.Println("@done")
}
