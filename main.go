// Command firemode is the backend of the FireMode fire-safety compliance platform.
package main

func main() {}
