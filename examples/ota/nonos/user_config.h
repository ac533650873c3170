/* The SDK's osapi.h includes this file; it may be empty. */
