/* Included by the SDK's osapi.h; may be empty. */
