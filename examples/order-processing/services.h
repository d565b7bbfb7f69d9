/* services.h: the services' main() functions, by the names they have where they share a program (in_one_process.c). */
#ifndef ORDER_PROCESSING_SERVICES_H
#define ORDER_PROCESSING_SERVICES_H

int order_service(int argc, char **argv);
int inventory_service(int argc, char **argv);
int email_service(int argc, char **argv);
int analytics_service(int argc, char **argv);

#endif
