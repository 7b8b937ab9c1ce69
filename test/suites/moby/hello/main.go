// Command hello is what the stand-in of the image hello-world contains.
package main

func main() { println("Hello from Docker!") }
