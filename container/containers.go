// Package container keeps the engine's containers: their records, their states and what may be done to them.
package container
